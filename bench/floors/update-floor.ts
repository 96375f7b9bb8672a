import pg from "pg";
import type { Cost } from "../harness/cost.ts";
import { measuredArgument, serveMeasurements } from "../harness/measured-side.ts";
import { PostgresCpu } from "../harness/postgres-cpu.ts";
import { timed } from "../harness/timing.ts";

/**
 * The floor of offers and outcomes: one plain INSERT and later one plain UPDATE a batch, each a transaction, of the rows
 * that a rollout's device updates are, in a table with the same indexes and without foreign keys; no counters, no
 * checks. It runs at start and announces what that cost.
 */
interface Work {
  readonly url: string;
  readonly rolloutId: string;
  readonly batchRows: number;
}

/** What the floor announces. */
export interface UpdateFloorReady {
  readonly rows: number;
  readonly insert: Cost;
  readonly update: Cost;
}

const columns = [
  "device_id",
  "id",
  "rollout_id",
  "ring_id",
  "firmware_id",
  "action",
  "from_version",
  "to_version",
  "from_boot_id",
  "offered_at",
  "deadline_at",
] as const;

const { url, rolloutId, batchRows } = measuredArgument<Work>();
const client = new pg.Client({ connectionString: url });
await client.connect();
const postgres = await PostgresCpu.of(client);
const { rows } = await client.query<Record<(typeof columns)[number], unknown>>(
  `SELECT ${columns.join(", ")} FROM device_updates WHERE rollout_id = $1 ORDER BY id`,
  [rolloutId],
);
// Once unmeasured, so that the JIT and the database's caches are as warm as the service's.
await run();
const { insert, update } = await run();
serveMeasurements({ rows: rows.length, insert, update } satisfies UpdateFloorReady, () => client.end());

async function run(): Promise<{ insert: Cost; update: Cost }> {
  await client.query("DROP TABLE IF EXISTS bench_updates");
  await client.query("CREATE TABLE bench_updates (LIKE device_updates INCLUDING ALL)");
  return { insert: await measured(insertBatch), update: await measured(updateBatch) };
}

async function measured(batch: (part: typeof rows) => Promise<unknown>): Promise<Cost> {
  let milliseconds = 0;
  const before = process.cpuUsage();
  const postgresMicros = await postgres.during(async () => {
    milliseconds = await timed(async () => {
      for (let start = 0; start < rows.length; start += batchRows)
        await batch(rows.slice(start, start + batchRows));
    });
  });
  const { user, system } = process.cpuUsage(before);
  return { milliseconds, postgresMicros, serviceMicros: user + system };
}

function insertBatch(part: typeof rows): Promise<unknown> {
  return client.query({
    name: "bench_insert",
    text: `INSERT INTO bench_updates (${columns.join(", ")}, state)
      SELECT *, 'OFFERED' FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[], $6::text[], $7::text[],
        $8::text[], $9::text[], $10::timestamptz[], $11::timestamptz[])`,
    values: columns.map((column) => part.map((row) => row[column])),
  });
}

function updateBatch(part: typeof rows): Promise<unknown> {
  return client.query({
    name: "bench_update",
    text: `UPDATE bench_updates u SET state = 'FAILED', failure_reason = 'BENCH', ended_at = now(), updated_at = now()
      FROM unnest($1::uuid[], $2::uuid[]) AS c (device_id, id) WHERE u.device_id = c.device_id AND u.id = c.id`,
    values: [part.map((row) => row.device_id), part.map((row) => row.id)],
  });
}
