import { readdir, readFile } from "node:fs/promises";
import type pg from "pg";

/**
 * The CPU time of a PostgreSQL server on this machine: of all its processes, those that ended included. Read from
 * /proc (Linux), in steps of 10 ms.
 */
export class PostgresCpu {
  readonly #postmaster: number;

  private constructor(postmaster: number) {
    this.#postmaster = postmaster;
  }

  /** Of the server that a connection leads to. */
  static async of(client: pg.Client): Promise<PostgresCpu> {
    const { rows } = await client.query<{ pid: number }>("SELECT pg_backend_pid() AS pid");
    const backend = await processOf(rows[0]?.pid ?? 0);
    if (backend === undefined) throw new Error("the database server does not run on this machine");
    return new PostgresCpu(backend.parent);
  }

  /** Runs `work` and returns the CPU time that the server used meanwhile, in microseconds. */
  async during(work: () => Promise<unknown>): Promise<number> {
    const before = await this.#micros();
    await work();
    return (await this.#micros()) - before;
  }

  async #micros(): Promise<number> {
    let ticks = 0;
    for (const name of await readdir("/proc")) {
      const pid = Number(name);
      if (Number.isNaN(pid)) continue;
      const found = await processOf(pid);
      if (pid === this.#postmaster) ticks += (found?.ticks ?? 0) + (found?.endedTicks ?? 0);
      else if (found?.parent === this.#postmaster) ticks += found.ticks;
    }
    return ticks * microsPerTick;
  }
}

/** Linux counts for programs in hundredths of a second, whatever the kernel's own clock. */
const microsPerTick = 10_000;

/** What the kernel says of a process; undefined if there is none (any more). */
async function processOf(
  pid: number,
): Promise<{ readonly parent: number; readonly ticks: number; readonly endedTicks: number } | undefined> {
  let text: string;
  try {
    text = await readFile(`/proc/${pid}/stat`, "utf8");
  } catch {
    return undefined;
  }
  // The name, in brackets, may hold anything; what follows are numbers (proc_pid_stat(5), fields 3 on).
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const [user = 0, system = 0, endedUser = 0, endedSystem = 0] = fields.slice(11, 15).map(Number);
  return { parent: Number(fields[1]), ticks: user + system, endedTicks: endedUser + endedSystem };
}
