import pg from "pg";
import { expect, inject, it } from "vitest";
import { Severity } from "../../gen/ota/v1/heartbeat_pb.js";
import { HeartbeatService } from "../../gen/ota/v1/heartbeat_service_pb.js";
import { RpcClient } from "../../src/client/rpc-client.ts";
import { type AdvisoryLock, lockNumber } from "../../src/infra/database/advisory-locks.ts";
import { DeliveryHistory } from "../support/delivery-history.ts";
import { registerKey } from "../support/door-clients.ts";
import { eventually } from "../support/eventually.ts";
import { createTestDatabase, query } from "../support/postgres.ts";
import { enrol, startDevices, untilAcked } from "../support/streaming-device.ts";
import { ServiceProcess } from "./service-process.ts";

/** What one replica at a time does for all. */
interface Work {
  /** As metrics name it. */
  readonly name: string;
  readonly lock: AdvisoryLock;
  /** What it writes in its turn. */
  readonly table: string;
  /** Gives it something to do. */
  readonly wake: (replica: ServiceProcess, databaseUrl: string) => Promise<void>;
}

const works: readonly Work[] = [
  { name: "roll_ups", lock: "roll-ups", table: "rollup_progress", wake: storeEarlierHeartbeats },
  { name: "audit_chain", lock: "audit chain", table: "audit_links", wake: registerKeys },
  { name: "events", lock: "events", table: "fleet_events", wake: registerKeys },
  { name: "alerts", lock: "alerts", table: "alerts", wake: registerKeys },
  { name: "fleet_counters", lock: "fleet counters", table: "fleet_counts", wake: registerKeys },
  { name: "error_collector", lock: "error collector", table: "error_groups", wake: reportErrors },
  { name: "version_history", lock: "version history", table: "fleet_version_history", wake: forgetVersions },
];

const atOnce = 5;

// Which replica has the turn is told by the role that it works as: a server of one's own has one for both.
it.skipIf(inject("serviceUrl") === inject("databaseUrl"))(
  "a replica that is killed in the middle of what one does for all: the other one does it, once, and nothing is lost",
  async () => {
    await using cleanup = new AsyncDisposableStack();
    const database = cleanup.use(await createTestDatabase({ partitioned: true }));
    const replicas = [
      { url: database.serviceUrl, service: cleanup.use(await ServiceProcess.start(database.serviceUrl)) },
      { url: database.url, service: cleanup.use(await ServiceProcess.start(database.url)) },
    ] as const;
    const history = new DeliveryHistory();
    const devices = await startDevices(replicas[0].service, 5, { history });
    const running = cleanup.use(new AsyncDisposableStack());
    for (const device of devices) running.use(device);
    await untilAcked(devices, 3);

    for (const { name, lock, table, wake } of works) {
      const holder = await openSession(database.url);
      cleanup.defer(() => holder.end());
      // Nobody has the turn until there is something to do and the table is held.
      await holder.query("SELECT pg_advisory_lock($1)", [lockNumber(lock)]);
      await wake(replicas[0].service, database.url);
      await holder.query(`BEGIN; LOCK TABLE ${table} IN EXCLUSIVE MODE`);
      await holder.query("SELECT pg_advisory_unlock($1)", [lockNumber(lock)]);
      const role = await eventually(() => roleInTheMidst(database.url, lock, table));
      const [victim, survivor] =
        new URL(replicas[0].url).username === role
          ? [replicas[0].service, replicas[1].service]
          : [replicas[1].service, replicas[0].service];
      for (const device of devices) device.moveTo(survivor.grpcAddress);
      await victim.signal("SIGKILL");
      await holder.query("COMMIT");

      const done = await runs(survivor, name, "ok");
      await eventually(async () => expect(await runs(survivor, name, "ok")).toBeGreaterThan(done));
      await untilAcked(devices, 5);
      await eventually(async () => expect(await undone(database.url)).toEqual([]));
      if (name !== works.at(-1)?.name) await victim.startAgain();
    }

    await running.disposeAsync();
    const rows = await query(
      database.url,
      `SELECT (SELECT count(*)::int FROM fleet_events WHERE resource_type = 'signing_key') AS keys,
              (SELECT sum(occurrence_count)::int FROM error_groups) AS errors,
              (SELECT sum(count)::int FROM heartbeat_rollups_5m WHERE bucket < now() - interval '15 minutes') AS earlier`,
    );
    const keys = works.filter(({ wake }) => wake === registerKeys).length * atOnce;
    expect(rows).toEqual([{ keys, errors: atOnce, earlier: atOnce }]);
    expect(await history.check(database.url)).toEqual([]);
    expect(await undone(database.url)).toEqual([]);
  },
  600_000,
);

async function openSession(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url });
  client.on("error", () => undefined);
  await client.connect();
  return client;
}

/** Each leaves a row on the audit log, which is to be linked, and one in the feed of events, which is to be numbered. */
async function registerKeys({ grpcAddress, adminToken: token }: ServiceProcess): Promise<void> {
  using rpc = new RpcClient({ address: grpcAddress, token });
  for (let each = 0; each < atOnce; each++) await registerKey(rpc);
}

/** They wait in the inbox for whoever counts them. */
async function reportErrors(replica: ServiceProcess): Promise<void> {
  using anybody = new RpcClient({ address: replica.grpcAddress });
  const { device, deviceToken: token } = await enrol(anybody, replica.enrolmentKey);
  using rpc = new RpcClient({ address: replica.grpcAddress, token });
  const heartbeats = Array.from({ length: atOnce }, (_, at) => ({
    sequence: BigInt(at + 1),
    firmwareVersion: "1.0.0",
    bootId: "boot",
    errors: [{ code: "E1", severity: Severity.CRITICAL, message: "no reading" }],
  }));
  await rpc.unary(HeartbeatService.method.sendHeartbeat, { deviceId: device?.id ?? "", heartbeats });
}

/** Nobody has counted the versions of this hour. */
async function forgetVersions(_: ServiceProcess, databaseUrl: string): Promise<void> {
  await query(databaseUrl, "DELETE FROM fleet_version_history");
}

/** Heartbeats of twenty minutes ago, up to which nothing is rolled up. */
async function storeEarlierHeartbeats(_: ServiceProcess, databaseUrl: string): Promise<void> {
  await query(
    databaseUrl,
    `SELECT make_time_partition('device_heartbeats', 'device_heartbeats_' || to_char(day, 'YYYYMMDD'), day, day + interval '1 day')
       FROM (SELECT date_trunc('day', now() - interval '20 minutes', 'UTC') AS day) d;
     INSERT INTO device_heartbeats
     SELECT (jsonb_populate_record(h, jsonb_build_object('device_id', gen_random_uuid(), 'received_at', now() - interval '20 minutes'))).*
       FROM device_heartbeats h LIMIT ${atOnce};
     UPDATE rollup_progress SET next_bucket =
       CASE resolution WHEN '5m' THEN date_bin('5 minutes', now() - interval '20 minutes', 'epoch')
                       ELSE date_trunc('hour', now() - interval '20 minutes', 'UTC') END`,
  );
}

/** The role of the session that has the lock and waits for the table. */
async function roleInTheMidst(databaseUrl: string, lock: AdvisoryLock, table: string): Promise<string> {
  const [row] = await query<{ role: string }>(
    databaseUrl,
    `SELECT usename AS role FROM pg_stat_activity a
      WHERE EXISTS (SELECT 1 FROM pg_locks l WHERE l.pid = a.pid AND granted AND locktype = 'advisory'
                      AND (classid::bigint << 32) + objid::bigint = $1)
        AND EXISTS (SELECT 1 FROM pg_locks l WHERE l.pid = a.pid AND NOT granted AND relation = $2::regclass)`,
    [lockNumber(lock), table],
  );
  if (row === undefined) throw new Error(`nobody writes ${table}`);
  return row.role;
}

/** How often a replica has done a work, with that outcome. */
async function runs({ httpUrl }: ServiceProcess, work: string, outcome: string): Promise<number> {
  const text = await (await fetch(`${httpUrl}/metrics`)).text();
  const line = new RegExp(
    `^device_ota_background_runs_total\\{work="${work}",outcome="${outcome}"\\} (\\d+)$`,
    "m",
  );
  return Number(line.exec(text)?.[1] ?? 0);
}

/** What is not done, or was done twice or with a gap: nothing, if all is well. */
async function undone(databaseUrl: string): Promise<string[]> {
  const rows = await query<{ problem: string }>(
    databaseUrl,
    `SELECT 'audit events wait for their link' AS problem FROM unlinked_audit_events
     UNION ALL SELECT 'an audit event has not one link' FROM audit_events e
       WHERE (SELECT count(*) FROM audit_links l WHERE l.event_id = e.id) <> 1
     UNION ALL SELECT 'links have a gap' FROM audit_links HAVING count(*) <> max(sequence) - min(sequence) + 1
     UNION ALL SELECT 'events wait for their number' FROM fleet_events WHERE sequence IS NULL
     UNION ALL SELECT 'events have a gap' FROM fleet_events HAVING count(*) <> max(sequence) - min(sequence) + 1
     UNION ALL SELECT 'an alert fires twice' FROM alerts WHERE resolved_at IS NULL GROUP BY key HAVING count(*) > 1
     UNION ALL SELECT 'errors wait to be counted' FROM error_inbox
     UNION ALL SELECT 'nobody has counted the versions of this hour'
       WHERE NOT EXISTS (SELECT FROM fleet_version_history WHERE hour = date_trunc('hour', now()))
     UNION ALL SELECT 'roll-ups are not what they are made of' FROM rollup_progress p
       WHERE resolution = '5m' AND (SELECT coalesce(sum(count), 0) FROM heartbeat_rollups_5m)
                                <> (SELECT count(*) FROM device_heartbeats WHERE received_at < p.next_bucket)
     UNION ALL SELECT 'devices are counted wrongly' FROM (
         SELECT dimension, name, count FROM fleet_recount() WHERE number IS NULL
         UNION ALL SELECT dimension, name, -count FROM fleet_counts WHERE number IS NULL) both_sides
       GROUP BY dimension, name HAVING sum(count) <> 0`,
  );
  return rows.map(({ problem }) => problem);
}
