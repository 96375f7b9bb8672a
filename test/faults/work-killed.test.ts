import pg from "pg";
import { expect, inject, it } from "vitest";
import { RpcClient } from "../../src/client/rpc-client.ts";
import { type AdvisoryLock, lockNumber } from "../../src/infra/database/advisory-locks.ts";
import { DeliveryHistory } from "../support/delivery-history.ts";
import { registerKey } from "../support/door-clients.ts";
import { eventually } from "../support/eventually.ts";
import { createTestDatabase, query } from "../support/postgres.ts";
import { startDevices, untilAcked } from "../support/streaming-device.ts";
import { ServiceProcess } from "./service-process.ts";

/** What one replica at a time does for all: the metrics' name, its lock, the table that it writes in its turn. */
const works: readonly (readonly [work: string, lock: AdvisoryLock, table: string])[] = [
  ["audit_chain", "audit chain", "audit_links"],
  ["events", "events", "fleet_events"],
  ["alerts", "alerts", "alerts"],
  ["fleet_counters", "fleet counters", "fleet_counts"],
];

const keysAtOnce = 5;

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

    for (const [work, lock, table] of works) {
      const holder = await openSession(database.url);
      cleanup.defer(() => holder.end());
      // Nobody has the turn until there is something to do and the table is held.
      await holder.query("SELECT pg_advisory_lock($1)", [lockNumber(lock)]);
      await registerKeys(replicas[0].service);
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

      const done = await runs(survivor, work, "ok");
      await eventually(async () => expect(await runs(survivor, work, "ok")).toBeGreaterThan(done));
      await untilAcked(devices, 5);
      await eventually(async () => expect(await undone(database.url)).toEqual([]));
      if (work !== works.at(-1)?.[0]) await victim.startAgain();
    }

    await running.disposeAsync();
    const rows = await query(
      database.url,
      "SELECT (SELECT count(*)::int FROM audit_links) AS links, (SELECT max(sequence)::int FROM fleet_events) AS events",
    );
    const most = works.length * keysAtOnce;
    expect(rows).toEqual([{ links: expect.toSatisfy((n: number) => n >= most), events: most }]);
    expect(await history.check(database.url)).toEqual([]);
    expect(await undone(database.url)).toEqual([]);
  },
  300_000,
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
  for (let each = 0; each < keysAtOnce; each++) await registerKey(rpc);
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
     UNION ALL SELECT 'devices are counted wrongly' FROM (
         SELECT dimension, name, count FROM fleet_recount() WHERE number IS NULL
         UNION ALL SELECT dimension, name, -count FROM fleet_counts WHERE number IS NULL) both_sides
       GROUP BY dimension, name HAVING sum(count) <> 0`,
  );
  return rows.map(({ problem }) => problem);
}
