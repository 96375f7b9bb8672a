import { mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { describe, expect, it } from "vitest";
import { exitCodes } from "../../src/cli/failure.ts";
import { lockNumber } from "../../src/infra/database/advisory-locks.ts";
import { eventually } from "../support/eventually.ts";
import { FaultProxy } from "../support/fault-proxy.ts";
import { withDatabase } from "../support/global-setup.ts";
import { createTestDatabase, query } from "../support/postgres.ts";
import { startCli } from "../support/run-cli.ts";
import { ServiceProcess } from "./service-process.ts";

describe("a service that runs is not ready", () => {
  it("while its database is read-only or its store takes no objects, and says which and since when", async () => {
    await using database = await createTestDatabase();
    await using service = await ServiceProcess.start(database.url, { DEVICE_OTA_WRITE_PROBE_SECONDS: "1" });
    expect(await health(service)).toEqual({
      status: 200,
      checks: { serving: "ok", database: "ok", ingest: "ok", migrations: "ok", store: "ok" },
    });

    // As after a failover: sessions end, and new ones find a standby.
    await readOnly(database.url, true);
    const since = /\(since \d{4}-\d\d-\d\dT[\d:.]+Z\)$/;
    const readOnlyText = await eventually(async () => {
      const { status, checks } = await health(service);
      expect(status).toBe(503);
      expect(checks["database"]).toMatch(/^the database is read-only, as a standby is \(since /);
      return checks["database"];
    });
    // It goes on saying since when.
    await eventually(async () => expect((await health(service)).checks["database"]).toBe(readOnlyText));
    await readOnly(database.url, false);
    await eventually(async () => expect((await health(service)).status).toBe(200));

    const folder = join(service.folder, "data", "storage", "firmware");
    await rename(folder, `${folder}-away`);
    await writeFile(folder, "");
    await eventually(async () => {
      const { status, checks } = await health(service);
      expect([status, checks["database"]]).toEqual([503, "ok"]);
      expect(checks["store"]).toMatch(/^the object store cannot be written to/);
      expect(checks["store"]).toMatch(since);
    });
    await rm(folder);
    await rename(`${folder}-away`, folder);
    await eventually(async () => expect((await health(service)).status).toBe(200));
  });
});

describe("a service that starts before its database", () => {
  it("waits for it, says so, can be ended, and comes up when the database does", async () => {
    await using cleanup = new AsyncDisposableStack();
    const cwd = await mkdtemp(join(tmpdir(), "device-ota-waits-"));
    cleanup.defer(() => rm(cwd, { recursive: true, force: true }));
    const { url } = cleanup.use(await createTestDatabase());
    const network = cleanup.use(await FaultProxy.start(new URL(url).host));
    const through = new URL(url);
    through.host = network.address;
    const env = { DEVICE_OTA_DATABASE_URL: through.href };
    network.refuse();
    const start = async () => {
      const run = startCli(["serve", "--grpc-port", "0", "--http-port", "0"], { cwd, env });
      await eventually(() => expect(run.output.stdout).toContain("waiting for the database: "));
      return run;
    };

    const ended = await start();
    ended.child.kill("SIGTERM");
    expect((await ended.result).exitCode).toBe(exitCodes.interrupted);

    const run = await start();
    network.heal();
    await eventually(() => expect(run.output.stderr).toContain("is up"));
    run.child.kill("SIGTERM");
    expect((await run.result).exitCode).toBe(0);
  });

  it("ends on SIGTERM while it waits for another process that migrates", async () => {
    const cwd = await mkdtemp(join(tmpdir(), "device-ota-waits-"));
    await using _ = { [Symbol.asyncDispose]: () => rm(cwd, { recursive: true, force: true }) };
    await using database = await createTestDatabase();
    const other = new pg.Client({ connectionString: database.url });
    await other.connect();
    try {
      await other.query("SELECT pg_advisory_lock($1)", [lockNumber("migrations")]);
      const env = { DEVICE_OTA_DATABASE_URL: database.url };
      const run = startCli(["serve", "--grpc-port", "0", "--http-port", "0"], { cwd, env });
      const waiting =
        "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'advisory' AND datname = current_database()";
      await eventually(async () => expect(await query(database.url, waiting)).toHaveLength(1));
      run.child.kill("SIGTERM");
      expect((await run.result).exitCode).toBe(exitCodes.interrupted);
    } finally {
      await other.end();
    }
  });

  it("gives up after the time that is set, so that a supervisor starts it again", async () => {
    const cwd = await mkdtemp(join(tmpdir(), "device-ota-waits-"));
    await using _ = { [Symbol.asyncDispose]: () => rm(cwd, { recursive: true, force: true }) };
    const run = startCli(["serve", "--grpc-port", "0", "--http-port", "0"], {
      cwd,
      env: {
        DEVICE_OTA_DATABASE_URL: "postgresql://nobody@127.0.0.1:1/nothing",
        DEVICE_OTA_DATABASE_WAIT_SECONDS: "1",
      },
    });
    const { exitCode, stderr } = await run.result;
    expect([exitCode, stderr]).toEqual([exitCodes.unavailable, expect.stringContaining("the database")]);
  });
});

async function health({ httpUrl }: ServiceProcess) {
  const answer = await fetch(`${httpUrl}/health/ready`);
  const { checks } = (await answer.json()) as { checks: Record<string, string> };
  return { status: answer.status, checks };
}

async function readOnly(databaseUrl: string, on: boolean): Promise<void> {
  const name = new URL(databaseUrl).pathname.slice(1);
  const administration = withDatabase(databaseUrl, "postgres");
  await query(
    administration,
    `ALTER DATABASE ${name} SET default_transaction_read_only = ${on ? "on" : "off"}`,
  );
  await query(administration, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", [
    name,
  ]);
}
