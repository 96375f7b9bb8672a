import pg from "pg";

/** The id of the n-th seeded device. */
export function deviceIdOf(index: number): string {
  return `01900000-0000-7000-8000-${index.toString(16).padStart(12, "0")}`;
}

/** The bearer token of the n-th seeded device. */
export function deviceTokenOf(index: number): string {
  return `ota_dev_bench_${index.toString().padStart(12, "0")}`;
}

/**
 * Puts devices 0..count-1 straight into the database, with credentials and a first state, as if they had enrolled and
 * beaten once in the last minute. A million take well under a minute this way; enrolling them would take hours.
 */
export async function seedFleet(databaseUrl: string, count: number, deviceType = "bench"): Promise<void> {
  await seedDevices(databaseUrl, count, deviceType);
  await run(databaseUrl, [...credentials, "ANALYZE device_credentials, device_ingest"], [count]);
}

/** The same without credentials, for a fleet that others ask about but that makes no calls. */
export async function seedDevices(databaseUrl: string, count: number, deviceType = "bench"): Promise<void> {
  await run(databaseUrl, [...devices, "ANALYZE devices, device_state"], [count, deviceType]);
}

async function run(databaseUrl: string, statements: readonly string[], values: unknown[]): Promise<void> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    // Without triggers, which check each foreign key and count each row: that takes longer than the rows.
    await client.query("SET session_replication_role = replica");
    for (const statement of statements) {
      await client.query(
        statement,
        values.filter((_value, index) => statement.includes(`$${index + 1}`)),
      );
    }
  } finally {
    await client.end();
  }
}

const id = "('01900000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid";
const series = "generate_series(0, $1::bigint - 1) AS n";

const devices = [
  `INSERT INTO devices (id, serial_number, device_type, hardware_model, groups)
   SELECT ${id}, 'bench-' || n, $2, 'model-' || (n % 4), ARRAY['group-' || (n % 50)] FROM ${series} ON CONFLICT DO NOTHING`,
  `INSERT INTO device_state (device_id, last_seen_at, epoch, last_sequence, firmware_version, boot_id, uptime_ms,
                             battery_percent, charging, storage_free_bytes, security_counter)
   SELECT ${id}, now() - n % 60 * interval '1 second', 1, 0, '1.0.0', 'boot', 1000, 20 + n * 7 % 80, false, 1000000000, 0 FROM ${series} ON CONFLICT DO NOTHING`,
  "DELETE FROM fleet_counts",
  "INSERT INTO fleet_counts (dimension, name, number, count) SELECT * FROM fleet_recount()",
];

const credentials = [
  `INSERT INTO device_credentials (id, device_id, secret_hash)
   SELECT ${id}, ${id}, sha256(('ota_dev_bench_' || lpad(n::text, 12, '0'))::bytea) FROM ${series} ON CONFLICT DO NOTHING`,
  `INSERT INTO device_ingest (device_id, epoch, last_sequence, stream_generation)
   SELECT ${id}, 1, 0, 0 FROM ${series} ON CONFLICT DO NOTHING`,
];
