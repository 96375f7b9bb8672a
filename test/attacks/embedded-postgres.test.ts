import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtemp, readdir, readFile, rm, stat } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { migrateUp } from "../../src/infra/database/migrate.ts";
import { createLogger } from "../../src/infra/logger.ts";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "../../src/infra/postgres/embedded-postgres.ts";
import { readPostmasterPid } from "../../src/infra/postgres/orphan.ts";
import { eventually } from "../support/eventually.ts";
import { asSuperuser } from "../support/global-setup.ts";
import { crashPostmaster, query } from "../support/postgres.ts";

/** A user of the machine who has nothing to do with the service (nobody). Only root can act as another user. */
const stranger = { uid: 65_534, gid: 65_534 };
const isRoot = process.getuid?.() === 0;

describe("somebody else on the machine, or a statement that somebody smuggled in", () => {
  let root: string;
  let dataDir: string;
  let server: EmbeddedPostgres;
  let socketFolder: string;

  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), "device-ota-local-"));
    // Under whose name a socket can be reached at all by others.
    await chmod(root, 0o755);
    dataDir = join(root, "postgres");
    server = await startEmbeddedPostgres({
      dataDir,
      logger: createLogger({ level: "silent", pretty: false }),
    });
    socketFolder = decodeURIComponent(new URL(server.serviceUrl).hostname);
    await migrateUp(server.ownerUrl, { serviceUrl: server.serviceUrl });
  });

  afterAll(async () => {
    await server.stop();
    await rm(root, { recursive: true, force: true });
  });

  it("finds no port to take, and no password to hear or to read", async () => {
    const postmaster = await readPostmasterPid(join(dataDir, "cluster", "postmaster.pid"));
    expect(await listeningPorts(postmaster)).toEqual([]);
    for (const url of [server.serviceUrl, server.ownerUrl]) expect(new URL(url).password).toBe("");
    expect(await readdir(dataDir)).not.toContain("password");
    const roles = await query(
      asSuperuser(server),
      "SELECT rolname FROM pg_authid WHERE rolpassword IS NOT NULL",
    );
    expect(roles).toEqual([]);
    expect((await stat(socketFolder)).mode & 0o777).toBe(0o700);
  });

  it.runIf(isRoot)("cannot listen in the server's place while it restarts", async () => {
    const path = join(socketFolder, ".s.PGSQL.5432");
    const killed = await crashPostmaster(dataDir);
    expect(await asStranger(`require("node:fs").unlinkSync(${JSON.stringify(path)})`)).toContain("EACCES");
    expect(
      await asStranger(`require("node:net").createServer().listen(${JSON.stringify(`${path}x`)})`),
    ).toContain("EACCES");
    await eventually(async () => {
      expect(await query(server.serviceUrl, "SELECT 1 AS n")).toEqual([{ n: 1 }]);
      expect(await readPostmasterPid(join(dataDir, "cluster", "postmaster.pid"))).not.toBe(killed);
    });
  });

  it.runIf(isRoot)("cannot connect, not even where the folder was opened by mistake", async () => {
    const connecting = `const { Client } = require(${JSON.stringify(createRequire(import.meta.url).resolve("pg"))});
      new Client({ connectionString: ${JSON.stringify(server.serviceUrl)} }).connect().then(() => console.error("in"))`;
    expect(await asStranger(connecting)).toContain("EACCES");
    await chmod(socketFolder, 0o777);
    try {
      expect(await asStranger(connecting)).toMatch(/Peer authentication failed/);
    } finally {
      await chmod(socketFolder, 0o700);
    }
  });

  it("is in the service's role no superuser, owns nothing, and cannot change the audit log", async () => {
    const refused = async (statement: string): Promise<string> =>
      query(server.serviceUrl, statement).then(
        () => "done",
        (error: Error & { code?: string }) => error.code ?? error.message,
      );
    const denied = "42501";
    expect(
      await refused(
        "INSERT INTO audit_events (id, actor, action, resource_type, resource_id) VALUES (gen_random_uuid(), 'a', 'b', 'c', 'd')",
      ),
    ).toBe("done");
    for (const statement of [
      "UPDATE audit_events SET actor = 'nobody'",
      "DELETE FROM audit_events",
      "TRUNCATE audit_events",
      "DROP TRIGGER audit_events_append_only ON audit_events",
      "ALTER TABLE audit_events DISABLE TRIGGER ALL",
      "SET session_replication_role = replica",
      "GRANT UPDATE ON audit_events TO device_ota_service; UPDATE audit_events SET actor = 'nobody'",
      "SET ROLE device_ota_owner",
      "SET ROLE device_ota",
      "CREATE TABLE mine (n int)",
      "CREATE TEMP TABLE audit_events (n int)",
      "DROP TABLE devices",
      "DELETE FROM mikro_orm_migrations",
      "COPY (SELECT 1) TO PROGRAM 'true'",
      "COPY devices TO '/tmp/devices'",
      "SELECT pg_read_file('/etc/passwd')",
      "SELECT rolpassword FROM pg_authid",
      "ALTER ROLE device_ota_service SUPERUSER",
      "CREATE ROLE other",
    ])
      expect([statement, await refused(statement)]).toEqual([statement, denied]);
  });

  it("can have partitions by time made and dropped, and no other table", async () => {
    const call = (statement: string) => query(server.serviceUrl, statement);
    await call(
      "SELECT make_time_partition('device_heartbeats', 'device_heartbeats_20200101', '2020-01-01Z', '2020-01-02Z')",
    );
    await call("SELECT drop_time_partition('device_heartbeats', 'device_heartbeats_20200101')");
    await call("SELECT drop_time_partition('device_heartbeats', 'device_heartbeats_20200101')");
    for (const [parent, partition] of [
      ["audit_events", "audit_events_20200101"],
      ["device_heartbeats", "audit_events"],
      ["device_heartbeats", "x; DROP TABLE devices"],
      [".*", "audit_events_20200101"],
      ["pg_class", "pg_class_20200101"],
    ])
      for (const name of ["make", "drop"]) {
        const values = name === "make" ? "$1, $2, now(), now()" : "$1, $2";
        await expect(
          query(server.serviceUrl, `SELECT ${name}_time_partition(${values})`, [parent, partition]),
        ).rejects.toThrow(/is no partition by time of/);
      }
  });
});

/** What the script says on standard error, run as somebody who is neither the service's user nor PostgreSQL's. */
async function asStranger(script: string): Promise<string> {
  const child = spawn(process.execPath, ["-e", script], {
    ...stranger,
    cwd: "/",
    stdio: ["ignore", "ignore", "pipe"],
  });
  let said = "";
  child.stderr.on("data", (chunk: Buffer) => (said += chunk.toString()));
  await once(child, "close");
  return said;
}

/** TCP ports on which a process listens, as the kernel lists them. */
async function listeningPorts(pid: number | undefined): Promise<string[]> {
  const { stdout } = await promisify(execFile)("sh", ["-c", `ls -l /proc/${pid}/fd || true`]);
  const inodes = new Set([...stdout.matchAll(/socket:\[(\d+)\]/g)].map(([, inode]) => inode));
  expect(inodes.size).toBeGreaterThan(0);
  const tables = await Promise.all(
    ["tcp", "tcp6"].map((name) => readFile(`/proc/${pid}/net/${name}`, "utf8")),
  );
  return tables
    .flatMap((table) => table.split("\n").slice(1))
    .map((line) => line.trim().split(/\s+/))
    .filter(([, , , state, , , , , , inode]) => state === "0A" && inode !== undefined && inodes.has(inode))
    .map(([, local]) => local ?? "");
}
