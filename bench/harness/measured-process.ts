import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";

/** What a measured process says of itself. */
export interface Usage {
  /** CPU time used since its start, user and system, in microseconds. */
  readonly cpuMicros: number;
  /** The same after the collection that the memory figure needs: what is measured next begins here. */
  readonly cpuMicrosAfter: number;
  /** Resident memory in bytes, after a forced collection. */
  readonly rssBytes: number;
  /** The highest resident memory since the last question, in bytes. */
  readonly peakRssBytes: number;
  /** How late the event loop was since the last question, 99th percentile, in milliseconds. */
  readonly loopDelayP99Ms: number;
}

/** What a measured process is asked. */
export type MeasuredRequest = { readonly ask: "usage" } | { readonly ask: "stop" };

/** How long a measured process may take to start, answer or stop. */
const replyTimeoutMs = 120_000;

/**
 * A server under measurement, in a process of its own, so that its CPU time and memory are its own and not the load
 * generator's.
 */
export class MeasuredProcess<Ready> implements AsyncDisposable {
  readonly #child: ChildProcess;
  /** What the process announced when it was ready, for example its ports. */
  readonly ready: Ready;

  private constructor(child: ChildProcess, ready: Ready) {
    this.#child = child;
    this.ready = ready;
  }

  /** Starts `module` with `argument` and waits until it announces itself. */
  static async start<Ready>(
    module: URL,
    argument: unknown,
    environment: Record<string, string> = {},
  ): Promise<MeasuredProcess<Ready>> {
    const child = fork(module, [JSON.stringify(argument)], {
      env: { ...process.env, ...environment },
      execArgv: ["--expose-gc"],
      stdio: ["ignore", "ignore", "inherit", "ipc"],
    });
    return new MeasuredProcess(child, await reply<Ready>(child));
  }

  /** Asks for the process's use of CPU and memory. */
  async usage(): Promise<Usage> {
    this.#child.send({ ask: "usage" } satisfies MeasuredRequest);
    return reply<Usage>(this.#child);
  }

  /** Runs `work` and returns the CPU time that the process used meanwhile, in microseconds. */
  async cpuDuring(work: () => Promise<void>): Promise<number> {
    const before = await this.usage();
    await work();
    return (await this.usage()).cpuMicros - before.cpuMicrosAfter;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null) return;
    const exited = once(this.#child, "exit");
    this.#child.send({ ask: "stop" } satisfies MeasuredRequest);
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), replyTimeoutMs);
    await exited;
    clearTimeout(timer);
  }
}

async function reply<T>(child: ChildProcess): Promise<T> {
  const settled = new AbortController();
  const signal = AbortSignal.any([AbortSignal.timeout(replyTimeoutMs), settled.signal]);
  const exit = once(child, "exit", { signal }).then(([code]) => {
    throw new Error(`the measured process ended with code ${String(code)}`);
  });
  exit.catch(() => undefined);
  try {
    const [message] = (await Promise.race([once(child, "message", { signal }), exit])) as [T];
    return message;
  } finally {
    // The listener of the event that did not come goes with it.
    settled.abort();
  }
}
