import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import pg from "pg";
import { expect, it } from "vitest";
import { RpcClient } from "../../src/client/rpc-client.ts";
import { systemClock } from "../../src/infra/clock.ts";
import { LocalObjectStore } from "../../src/infra/objects/local-object-store.ts";
import { newContent, publish } from "../support/door-clients.ts";
import { eventually } from "../support/eventually.ts";
import { createTestDatabase, query } from "../support/postgres.ts";
import { SeverableLine } from "../support/severable-line.ts";
import { metric } from "../support/streaming-device.ts";
import { TufOperator } from "../support/tuf-operator.ts";
import { ServiceProcess } from "./service-process.ts";

const settings = {
  // 3.6 s.
  DEVICE_OTA_ORPHAN_GRACE_HOURS: "0.001",
  DEVICE_OTA_ORPHAN_DELETE: "true",
  // The least: whoever reads the content is in the middle of it for as many seconds as it has times 64 KiB.
  DEVICE_OTA_SCRUB_BYTES_PER_SECOND: String(64 * 1_024),
};
const contentBytes = 640 * 1_024;

it("a service that is killed in the middle of its upkeep: the next start makes, reads, signs and removes what was left", async () => {
  await using cleanup = new AsyncDisposableStack();
  const database = cleanup.use(await createTestDatabase({ partitioned: true }));
  const line = cleanup.use(await SeverableLine.lay(database.serviceUrl));
  const service = cleanup.use(await ServiceProcess.start(line.url, settings));
  const holder = cleanup.adopt(await openSession(database.url), (it) => it.end());
  const rpc = () => cleanup.use(new RpcClient({ address: service.grpcAddress, token: service.adminToken }));
  const firmware = await publish({ client: rpc }, newContent(contentBytes));
  const repository = await new TufOperator({ client: rpc }, firmware.product).firstDay();
  const { version } = await timestampOf(repository);
  await service.signal("SIGKILL");

  // Something to do for each: a partition to make and one to drop, content to read, a timestamp to sign, orphans to remove.
  await writeFile(service.objectPath(firmware.sha256), newContent(contentBytes));
  const orphans = await putOrphans(service);
  const wanted = await makeWork(database.url);

  // The partition is made and not attached; the content is claimed by a reader that has not come to its end.
  await holder.query("SELECT pg_advisory_lock($1::int, hashtext($2))", [contentLock, orphans[1]]);
  await holder.query("BEGIN; LOCK TABLE device_heartbeats IN SHARE UPDATE EXCLUSIVE MODE");
  const starting = service.startAgain().then(
    () => "up",
    (error: unknown) => String(error),
  );
  await eventually(async () => {
    expect(await waitsFor(holder, "relation = 'device_heartbeats'::regclass")).toBe(true);
    expect(await scrubOf(holder)).toEqual({ isClaimed: true, isDamaged: false });
  });
  await service.signal("SIGKILL");
  expect(await starting).toContain("it ended with -1");
  await holder.query("COMMIT");
  expect(await partitions(database.url)).toEqual({
    ...wanted,
    present: wanted.present - 1,
    isOldThere: true,
  });
  expect(await scrubOf(holder)).toEqual({ isClaimed: true, isDamaged: false });

  // The new timestamp is written and not committed; the first orphan is gone and the next one about to go.
  const signing = line.stopBefore("DELETE FROM tuf_metadata");
  await service.startAgain();
  await signing;
  await eventually(async () => {
    expect(await waitsFor(holder, `locktype = 'advisory' AND classid = ${contentLock}`)).toBe(true);
    expect(await hasWrittenTimestamp(holder)).toBe(true);
  });
  await service.signal("SIGKILL");
  line.mend();
  await holder.query("SELECT pg_advisory_unlock_all()");
  expect(await timestampsOf(database.url)).toEqual([version]);
  expect(await storedOf(service, orphans)).toEqual([false, true, true]);

  // Ten minutes later what was to be read is due again.
  await holder.query("UPDATE firmware_updates SET check_due_at = check_due_at - interval '10 minutes'");
  await service.startAgain();
  expect(await partitions(database.url)).toEqual(wanted);
  await eventually(async () => {
    expect(await timestampOf(repository)).toMatchObject({ version: version + 1 });
    expect(await timestampsOf(database.url)).toEqual([version + 1]);
    expect(await storedOf(service, orphans)).toEqual([false, false, false]);
    expect(await scrubOf(holder)).toEqual({ isClaimed: true, isDamaged: true });
    expect(await metric(service.httpUrl, "device_ota_damaged_firmware_contents")).toBe(1);
  });
  expect(await storedOf(service, [firmware.sha256])).toEqual([true]);
}, 600_000);

/** The first half of the advisory locks of contents, as the service takes them. */
const contentLock = 0x63_6f_6e_74;

async function openSession(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url });
  client.on("error", () => undefined);
  await client.connect();
  return client;
}

/** Contents that nothing names, in the order in which the store lists them. */
async function putOrphans(service: ServiceProcess): Promise<string[]> {
  await using store = openStore(service);
  const digests: string[] = [];
  for (let each = 0; each < 3; each++)
    digests.push((await store.put(Readable.from([newContent(100)]), { maxBytes: 100 })).sha256);
  return digests.toSorted();
}

/** Which of those contents are there. */
async function storedOf(service: ServiceProcess, digests: readonly string[]): Promise<boolean[]> {
  await using store = openStore(service);
  return await Promise.all(digests.map(async (sha256) => (await store.stat(sha256)) !== undefined));
}

function openStore({ folder }: ServiceProcess): LocalObjectStore {
  return new LocalObjectStore(join(folder, "data", "storage", "firmware"), systemClock);
}

/** Takes the last partition away, adds one that is past its time, and lets content and timestamp fall due; how partitions should be. */
async function makeWork(databaseUrl: string): Promise<Partitions> {
  const { present } = await partitions(databaseUrl);
  await query(
    databaseUrl,
    `SELECT drop_time_partition('device_heartbeats', max(inhrelid::regclass::text)) FROM pg_inherits
      WHERE inhparent = 'device_heartbeats'::regclass;
     SELECT make_time_partition('device_heartbeats', 'device_heartbeats_20200101', '2020-01-01Z', '2020-01-02Z');
     UPDATE firmware_updates SET check_due_at = now();
     UPDATE tuf_metadata SET expires_at = now() + interval '1 hour' WHERE role = 'timestamp'`,
  );
  return { present, isOldThere: false, halfMade: 0 };
}

interface Partitions {
  /** But for the one that is past its time. */
  readonly present: number;
  readonly isOldThere: boolean;
  /** Tables by such a name that are no partitions. */
  readonly halfMade: number;
}

async function partitions(databaseUrl: string): Promise<Partitions> {
  const [row] = await query<Partitions & pg.QueryResultRow>(
    databaseUrl,
    `SELECT count(*) FILTER (WHERE relispartition AND relname <> 'device_heartbeats_20200101')::int AS present,
            count(*) FILTER (WHERE relname = 'device_heartbeats_20200101') > 0 AS "isOldThere",
            count(*) FILTER (WHERE NOT relispartition)::int AS "halfMade"
       FROM pg_class WHERE relkind = 'r' AND relname ~ '^device_heartbeats_[0-9]{8}$'`,
  );
  if (row === undefined) throw new Error("no partitions");
  return row;
}

/** Whether somebody in this database waits for such a lock. */
async function waitsFor(session: pg.Client, lock: string): Promise<boolean> {
  const { rowCount } = await session.query(
    `SELECT FROM pg_locks WHERE NOT granted AND ${lock}
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
  );
  return rowCount !== 0;
}

/** Whether somebody's transaction has written metadata and goes on. */
async function hasWrittenTimestamp(session: pg.Client): Promise<boolean> {
  const { rowCount } = await session.query(
    `SELECT FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction'
        AND query LIKE '%INSERT INTO tuf_metadata%'`,
  );
  return rowCount !== 0;
}

/** The firmware's content: whether a reader has claimed it, and what was found. */
async function scrubOf(session: pg.Client): Promise<{ isClaimed: boolean; isDamaged: boolean } | undefined> {
  const { rows } = await session.query<{ isClaimed: boolean; isDamaged: boolean }>(
    `SELECT check_due_at > clock_timestamp() AS "isClaimed", damaged_at IS NOT NULL AS "isDamaged" FROM firmware_updates`,
  );
  return rows[0];
}

/** As clients get it. */
async function timestampOf(repository: TufOperator): Promise<{ version: number }> {
  const file = JSON.parse(Buffer.from(await repository.file("timestamp.json")).toString()) as {
    readonly signed: { readonly version: number };
  };
  return file.signed;
}

async function timestampsOf(databaseUrl: string): Promise<number[]> {
  const rows = await query<{ version: number }>(
    databaseUrl,
    "SELECT version FROM tuf_metadata WHERE role = 'timestamp' ORDER BY version",
  );
  return rows.map(({ version }) => version);
}
