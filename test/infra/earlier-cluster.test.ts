import { execFile } from "node:child_process";
import { chown, mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, expect, it } from "vitest";
import { migrateUp } from "../../src/infra/database/migrate.ts";
import { createLogger } from "../../src/infra/logger.ts";
import { startEmbeddedPostgres } from "../../src/infra/postgres/embedded-postgres.ts";
import { findPostgresBinaries } from "../../src/infra/postgres/postgres-binaries.ts";
import { Postmaster } from "../../src/infra/postgres/postmaster.ts";
import { choosePostgresIdentity } from "../../src/infra/postgres/process-identity.ts";
import { asSuperuser } from "../support/global-setup.ts";
import { query } from "../support/postgres.ts";

const logger = createLogger({ level: "silent", pretty: false });
const password = "0123456789abcdef";

const kept = "01900000-0000-7000-8000-000000000001";

let dataDir: string;

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "device-ota-earlier-"));
});

afterEach(() => rm(dataDir, { recursive: true, force: true }));

it("takes over the data folder of a version whose one role was a superuser with a password", async () => {
  await makeAsBefore();

  for (const start of ["first", "second"]) {
    await using server = await startEmbeddedPostgres({ dataDir, logger });
    expect([start, await migrateUp(server.ownerUrl, { serviceUrl: server.serviceUrl })]).toEqual([start, []]);
    expect(await query(server.serviceUrl, "SELECT id FROM ended_sessions")).toEqual([{ id: kept }]);
    // What is there is the owner's to change, and the service's to work with.
    await query(
      server.ownerUrl,
      "ALTER TABLE ended_sessions ADD COLUMN tried int; ALTER TABLE ended_sessions DROP tried",
    );
    await query(server.serviceUrl, "UPDATE ended_sessions SET expires_at = now()");
    await query(
      server.serviceUrl,
      "SELECT drop_time_partition('error_occurrences', 'error_occurrences_20200101')",
    );
    const superuser = asSuperuser(server);
    expect(await query(superuser, leftWithSuperuserSql)).toEqual([]);
    expect(await query(superuser, "SELECT rolname FROM pg_authid WHERE rolpassword IS NOT NULL")).toEqual([]);
    expect(await readdir(dataDir)).not.toContain("password");
  }
});

const leftWithSuperuserSql = `
  SELECT relname AS name FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relowner = 10
  UNION ALL SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND proowner = 10`;

/** As the service did it before it had roles: `initdb` with a password for the one role, whose database and tables it made. */
async function makeAsBefore(): Promise<void> {
  const binaries = await findPostgresBinaries();
  const identity = await choosePostgresIdentity([binaries.postgres, dataDir], logger);
  await promisify(execFile)("chmod", ["711", dataDir]);
  const passwordFile = join(dataDir, "password");
  await writeFile(passwordFile, `${password}\n`, { mode: 0o600 });
  const [cluster, sockets, copy] = ["cluster", "sockets", "copy"].map((name) => join(dataDir, name)) as [
    string,
    string,
    string,
  ];
  for (const folder of [cluster, sockets]) await mkdir(folder, { mode: 0o700 });
  await writeFile(copy, `${password}\n`, { mode: 0o600 });
  const { owner } = identity;
  if (owner !== undefined)
    for (const path of [cluster, sockets, copy]) await chown(path, owner.uid, owner.gid);
  const [file, ...args] = [
    ...identity.prefix,
    binaries.initdb,
    `--pgdata=${cluster}`,
    "--username=device_ota",
    `--pwfile=${copy}`,
    "--auth=scram-sha-256",
    "--encoding=UTF8",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--locale=C",
    "--data-checksums",
    "--no-instructions",
  ];
  await promisify(execFile)(file as string, args, { ...identity.user, cwd: "/" });
  const settings = { listen_addresses: "", unix_socket_directories: sockets };
  const signal = new AbortController().signal;
  const server = await Postmaster.start(
    { cluster, port: 5432, binaries, identity, settings, logger },
    signal,
  );
  const urlOf = (database: string): string =>
    `postgres://device_ota:${password}@${encodeURIComponent(sockets)}/${database}`;
  await query(urlOf("postgres"), "CREATE DATABASE device_ota");
  await migrateUp(urlOf("device_ota"));
  await query(
    urlOf("device_ota"),
    `INSERT INTO ended_sessions (id, expires_at) VALUES ('${kept}', now());
     CREATE TABLE error_occurrences_20200101 PARTITION OF error_occurrences FOR VALUES FROM ('2020-01-01') TO ('2020-01-02')`,
  );
  await server.stop();
  for (const path of [sockets, copy]) await rm(path, { recursive: true });
}
