import { randomBytes, randomUUID } from "node:crypto";
import pg from "pg";
import { v7 as uuidv7 } from "uuid";
import type { Cost } from "../harness/cost.ts";
import { measuredArgument, serveMeasurements } from "../harness/measured-side.ts";
import { PostgresCpu } from "../harness/postgres-cpu.ts";
import { timed } from "../harness/timing.ts";

/**
 * The floor of registrations: the rows of a device, its token and its audit event in plain INSERTs, in tables with the same
 * indexes, without foreign keys, triggers and checks. A transaction a device, and a transaction a thousand devices. It runs
 * at start and announces what a device cost.
 */
export interface RegistrationWork {
  readonly url: string;
  /** Devices that come one by one. */
  readonly single: number;
  /** Devices that come together, in transactions of `batchRows`. */
  readonly bulk: number;
  readonly batchRows: number;
}

/** What the floor announces. */
export interface RegistrationFloorReady {
  readonly single: Cost;
  readonly bulk: Cost;
}

const deviceSql = `
  INSERT INTO bench_devices (id, serial_number, device_type, hardware_model, groups)
  SELECT id, serial_number, 'bench', 'bench', '{}' FROM unnest($1::uuid[], $2::text[]) AS r (id, serial_number)`;

const tokenSql = `
  INSERT INTO bench_device_credentials (id, device_id, secret_hash)
  SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bytea[])`;

const auditSql = `
  INSERT INTO bench_audit_events (id, actor, action, resource_type, resource_id, details)
  SELECT id, 'operator:bench', 'device.register', 'device', device_id::text, '{"device_type": "bench"}'
    FROM unnest($1::uuid[], $2::uuid[]) AS r (id, device_id)`;

const { url, single, bulk, batchRows } = measuredArgument<RegistrationWork>();
const client = new pg.Client({ connectionString: url });
await client.connect();
const postgres = await PostgresCpu.of(client);
for (const table of ["devices", "device_credentials", "audit_events"])
  await client.query(
    `DROP TABLE IF EXISTS bench_${table}; CREATE TABLE bench_${table} (LIKE ${table} INCLUDING ALL)`,
  );
// Once unmeasured, so that caches and compiled code are as warm as the service's.
await run(single, 1);
const ready = { single: await run(single, 1), bulk: await run(bulk, batchRows) };
serveMeasurements(ready satisfies RegistrationFloorReady, () => client.end());

async function run(devices: number, together: number): Promise<Cost> {
  let milliseconds = 0;
  const before = process.cpuUsage();
  const postgresMicros = await postgres.during(async () => {
    milliseconds = await timed(async () => {
      for (let made = 0; made < devices; made += together) await transaction(together);
    });
  });
  const { user, system } = process.cpuUsage(before);
  return { milliseconds, serviceMicros: user + system, postgresMicros };
}

async function transaction(count: number): Promise<void> {
  const ids = Array.from({ length: count }, () => uuidv7());
  const others = ids.map(() => uuidv7());
  await client.query("BEGIN");
  await client.query({ name: "device", text: deviceSql, values: [ids, ids.map(() => randomUUID())] });
  await client.query({
    name: "token",
    text: tokenSql,
    values: [others, ids, ids.map(() => randomBytes(32))],
  });
  await client.query({ name: "audit", text: auditSql, values: [others, ids] });
  await client.query("COMMIT");
}
