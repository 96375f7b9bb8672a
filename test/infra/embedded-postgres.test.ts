import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import pg from "pg";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createLogger } from "../../src/infra/logger.ts";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "../../src/infra/postgres/embedded-postgres.ts";
import { EmbeddedPostgresError } from "../../src/infra/postgres/embedded-postgres-error.ts";
import { readPostmasterPid } from "../../src/infra/postgres/orphan.ts";
import { eventually } from "../support/eventually.ts";
import { crashPostmaster } from "../support/postgres.ts";

const logger = createLogger({ level: "silent", pretty: false });

describe("embedded PostgreSQL", () => {
  /** A data folder made once; most tests begin with a copy of it, for `initdb` takes most of the time. */
  let made: string;
  let root: string;
  let dataDir: string;
  let cleanup: AsyncDisposableStack;

  beforeAll(async () => {
    made = await mkdtemp(join(tmpdir(), "device-ota-embedded-"));
    await (await startEmbeddedPostgres({ dataDir: made, logger })).stop();
  });

  afterAll(() => rm(made, { recursive: true, force: true }));

  beforeEach(async () => {
    cleanup = new AsyncDisposableStack();
    root = await mkdtemp(join(tmpdir(), "device-ota-embedded-"));
    cleanup.defer(() => rm(root, { recursive: true, force: true }));
    dataDir = join(root, "data folder", "postgres");
  });

  afterEach(() => cleanup.disposeAsync());

  /** Copies the data folder with its owners and modes. */
  const copyMade = async (): Promise<void> => {
    await mkdir(join(dataDir, ".."), { recursive: true });
    await promisify(execFile)("cp", ["-a", made, dataDir]);
  };

  const start = async (): Promise<EmbeddedPostgres> =>
    cleanup.use(await startEmbeddedPostgres({ dataDir, logger }));

  it("makes a durable server, and keeps the data", async () => {
    const first = await start();
    expect(first.majorVersion).toBe(18);
    expect(first.takenOver).toBe(false);
    await query(first.ownerUrl, "CREATE TABLE kept (n int); INSERT INTO kept VALUES (42)");
    const settings = ["fsync", "synchronous_commit", "full_page_writes", "data_checksums"];
    expect(await setting(first.ownerUrl, ...settings)).toEqual(["on", "on", "on", "on"]);

    await first.stop();
    await first.stop();
    expect(await readdir(dataDir)).not.toContain("socket");
    const second = await start();
    expect(second.takenOver).toBe(false);
    expect(await query(second.ownerUrl, "SELECT n FROM kept")).toEqual([{ n: 42 }]);
  });

  it("takes over from a service that was killed, and loses nothing that was committed", async () => {
    await copyMade();
    const service = runService(dataDir, cleanup);
    const { url } = await service.started;
    await query(url, "CREATE TABLE beats (n int)");
    const open = new pg.Client({ connectionString: url });
    open.on("error", () => undefined);
    await open.connect();
    await open.query("INSERT INTO beats VALUES (1)");
    await open.query("BEGIN; INSERT INTO beats VALUES (2)");
    const orphan = await postmasterPid(dataDir);
    await service.end("SIGKILL");
    expect(await isAlive(orphan)).toBe(true);

    const next = await start();

    expect(next.takenOver).toBe(true);
    expect(await isAlive(orphan)).toBe(false);
    expect(await query(next.ownerUrl, "SELECT n FROM beats")).toEqual([{ n: 1 }]);
    await open.end().catch(() => undefined);
  });

  it("tells a second service who has the folder, and leaves the first one alone", async () => {
    await copyMade();
    const service = runService(dataDir, cleanup);
    const { url } = await service.started;

    await expect(startEmbeddedPostgres({ dataDir, logger })).rejects.toThrow(
      new RegExp(`data folder ${dataDir} is in use by another running service \\(process ${service.pid}\\)`),
    );

    expect(await query(url, "SELECT 1 AS n")).toEqual([{ n: 1 }]);
  });

  it("also within one process", async () => {
    await copyMade();
    await start();
    await expect(startEmbeddedPostgres({ dataDir, logger })).rejects.toThrow(EmbeddedPostgresError);
  });

  it("stops the server with the service on SIGTERM", async () => {
    await copyMade();
    const service = runService(dataDir, cleanup);
    await service.started;
    const postmaster = await postmasterPid(dataDir);

    expect(await service.end("SIGTERM")).toBe(0);

    expect(await isAlive(postmaster)).toBe(false);
    expect(await readdir(join(dataDir, "cluster"))).not.toContain("postmaster.pid");
  });

  it("does not hear a Ctrl-C at the service's terminal", async () => {
    await copyMade();
    const service = runService(dataDir, cleanup);
    await service.started;
    const postmaster = await postmasterPid(dataDir);
    // Field 6 of the status line is the session, which the terminal's signals do not leave.
    expect(await sessionOf(postmaster)).toBe(postmaster);
    expect(await sessionOf(service.pid)).not.toBe(postmaster);
  });

  it("names both versions if the folder belongs to another major version", async () => {
    await copyMade();
    await (await start()).stop();
    await writeFile(join(dataDir, "cluster", "PG_VERSION"), "17\n");

    await expect(startEmbeddedPostgres({ dataDir, logger })).rejects.toThrow(
      new RegExp(`${dataDir} belongs to PostgreSQL 17, but this service brings PostgreSQL 18`),
    );
  });

  it("begins again where a crash interrupted the making of the data directory", async () => {
    const remains = join(dataDir, "init-AbCdEf");
    await mkdir(join(remains, "cluster"), { recursive: true });
    await writeFile(join(remains, "cluster", "PG_VERSION"), "18\n");

    const server = await start();

    expect(await query(server.ownerUrl, "SELECT 1 AS n")).toEqual([{ n: 1 }]);
    expect((await readdir(dataDir)).filter((name) => name.startsWith("init-"))).toEqual([]);
  });

  it("does not mistake a stranger with the postmaster's old process id for the server", async () => {
    await copyMade();
    await (await start()).stop();
    const stranger = spawn("sleep", ["600"]);
    cleanup.defer(() => void stranger.kill());
    await writeFile(join(dataDir, "cluster", "postmaster.pid"), `${stranger.pid}\n${dataDir}/cluster\n`);

    const server = await start();

    expect(server.takenOver).toBe(false);
    expect(stranger.exitCode ?? stranger.signalCode).toBeNull();
  });

  it("says that a folder cannot be written", async () => {
    await writeFile(join(root, "file"), "");
    dataDir = join(root, "file", "postgres");

    await expect(startEmbeddedPostgres({ dataDir, logger })).rejects.toThrow(
      /file\/postgres cannot be written/,
    );
  });

  it("works in a folder whose path is longer than a unix socket's may be", async () => {
    dataDir = join(root, "a".repeat(120), "postgres");
    const server = await start();
    expect(await query(server.ownerUrl, "SELECT 1 AS n")).toEqual([{ n: 1 }]);
    const socketFolder = socketFolderOf(server);
    expect(socketFolder.startsWith(`${tmpdir()}/device-ota-`)).toBe(true);
    expect((await stat(socketFolder)).mode & 0o777).toBe(0o700);
    await server.stop();
    await expect(stat(socketFolder)).rejects.toThrow(/ENOENT/);
  });

  it.runIf(process.getuid?.() === 0)("works under root in a folder that is closed to others", async () => {
    await mkdir(dataDir, { recursive: true });
    await chmod(root, 0o700);
    const server = await start();
    expect(await query(server.ownerUrl, "SELECT 1 AS n")).toEqual([{ n: 1 }]);
    expect((await stat(join(dataDir, "cluster"))).uid).not.toBe(0);
  });

  it("brings a server that was killed back on the same socket", async () => {
    await copyMade();
    const server = await start();
    await query(server.ownerUrl, "CREATE TABLE beats (n int); INSERT INTO beats VALUES (1)");

    const killed = await crashPostmaster(dataDir);

    await eventually(async () =>
      expect(await query(server.ownerUrl, "SELECT n FROM beats")).toEqual([{ n: 1 }]),
    );
    expect(await postmasterPid(dataDir)).not.toBe(killed);
  });

  it("can be stopped while it is bringing a server back", async () => {
    await copyMade();
    const server = await start();
    const killed = await crashPostmaster(dataDir);
    await eventually(async () => expect(await isAlive(killed)).toBe(false));

    await server.stop();

    const again = await start();
    expect(again.takenOver).toBe(false);
  });

  it("gives up the start when asked to", async () => {
    await copyMade();
    const reason = new Error("not any more");
    const signal = AbortSignal.abort(reason);

    await expect(startEmbeddedPostgres({ dataDir, logger, signal })).rejects.toThrow(/not any more|abort/i);

    expect(await query((await start()).ownerUrl, "SELECT 1 AS n")).toEqual([{ n: 1 }]);
  });
});

function socketFolderOf(server: EmbeddedPostgres): string {
  return decodeURIComponent(new URL(server.ownerUrl).hostname);
}

interface Service {
  readonly pid: number;
  readonly started: Promise<{ url: string; takenOver: boolean }>;
  /** Sends the signal and returns the exit code. */
  end(signal: NodeJS.Signals): Promise<number | null>;
}

function runService(dataDir: string, cleanup: AsyncDisposableStack): Service {
  const script = join(import.meta.dirname, "../support/embedded-postgres-service.ts");
  const child: ChildProcess = spawn(process.execPath, [script, dataDir], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const exited = once(child, "exit");
  const end = async (signal: NodeJS.Signals): Promise<number | null> => {
    child.kill(signal);
    await exited;
    return child.exitCode;
  };
  cleanup.defer(async () => {
    if (child.exitCode === null && child.signalCode === null) await end("SIGTERM");
  });
  const started = (async () => {
    if (child.stdout === null) throw new Error("the service has no output");
    const [line] = (await once(createInterface({ input: child.stdout }), "line")) as [string];
    const report = JSON.parse(line) as { url: string; takenOver: boolean; error?: string };
    if (report.error !== undefined) throw new Error(report.error);
    return report;
  })();
  return { pid: child.pid as number, started, end };
}

async function query(url: string, sql: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5_000 });
  client.on("error", () => undefined);
  try {
    await client.connect();
    return (await client.query(sql)).rows;
  } finally {
    await client.end();
  }
}

async function setting(url: string, ...names: string[]): Promise<string[]> {
  const columns = names.map((name) => `current_setting('${name}') AS ${name}`).join(", ");
  const [row] = (await query(url, `SELECT ${columns}`)) as Record<string, string>[];
  return names.map((name) => row?.[name] ?? "");
}

async function postmasterPid(dataDir: string): Promise<number> {
  const pid = await readPostmasterPid(join(dataDir, "cluster", "postmaster.pid"));
  if (pid === undefined) throw new Error("no postmaster");
  return pid;
}

async function sessionOf(pid: number): Promise<number> {
  const line = await readFile(`/proc/${pid}/stat`, "utf8");
  return Number(line.slice(line.lastIndexOf(")") + 2).split(" ")[3]);
}

/** A process that has ended but was not collected (a container may lack an init process) is not alive. */
async function isAlive(pid: number): Promise<boolean> {
  const line = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
  return line !== "" && line.slice(line.lastIndexOf(")") + 2, line.lastIndexOf(")") + 3) !== "Z";
}
