import { Migration } from "@mikro-orm/migrations";

/** Roll-ups of heartbeats, the catalogue of custom metrics, and where devices are. */
export class Telemetry extends Migration {
  override up(): void {
    for (const statement of statements) this.addSql(statement);
  }

  override down(): void {
    for (const table of tables.toReversed()) this.addSql(`drop table ${table}`);
    this.addSql("drop index device_heartbeats_received_at_index");
  }
}

const tables = [
  "heartbeat_rollups_5m",
  "heartbeat_rollups_1h",
  "rollup_progress",
  "late_buckets",
  "device_metrics",
  "device_positions",
];

/** Wide columns before narrow ones, so that none needs padding. */
function rollups(table: string): string {
  const of = (metrics: readonly string[], part: string, type: string) =>
    metrics.map((metric) => `${metric}_${part} ${type},`).join("\n");
  const reals = ["battery", "cpu", "memory", "signal", "temperature"];
  const doubles = ["storage_free", "uptime"];
  const all = [...reals, ...doubles];
  return `create table ${table} (
    device_id uuid not null,
    bucket timestamptz not null,
    last_received_at timestamptz not null,
    ${of(all, "sum", "double precision")}
    ${["min", "max", "last"].map((part) => of(doubles, part, "double precision")).join("\n")}
    count integer not null,
    ${of(all, "n", "integer not null default 0")}
    ${["min", "max", "last"].map((part) => of(reals, part, "real")).join("\n")}
    metrics jsonb,
    primary key (device_id, bucket)
  ) partition by range (bucket)`;
}

const statements = [
  // Rows lie in the order in which they came, so a summary of each range of pages finds a time's rows among all devices'
  // at some thousandth of the size of a b-tree, and costs COPY nothing that can be measured.
  `create index device_heartbeats_received_at_index on device_heartbeats using brin (received_at) with (pages_per_range = 64)`,
  rollups("heartbeat_rollups_5m"),
  `create index heartbeat_rollups_5m_bucket_index on heartbeat_rollups_5m using brin (bucket) with (pages_per_range = 64)`,
  rollups("heartbeat_rollups_1h"),
  `create index heartbeat_rollups_1h_bucket_index on heartbeat_rollups_1h using brin (bucket) with (pages_per_range = 64)`,
  `create table rollup_progress (
    resolution text not null,
    next_bucket timestamptz not null,
    shard integer not null default 0,
    shards integer not null default 1,
    updated_at timestamptz not null default now(),
    primary key (resolution)
  )`,
  `create table late_buckets (
    bucket timestamptz not null,
    created_at timestamptz not null default now(),
    primary key (bucket)
  )`,
  `create table device_metrics (
    device_type text not null,
    name text not null,
    first_seen_at timestamptz not null,
    last_seen_at timestamptz not null,
    primary key (device_type, name)
  )`,
  `create index device_metrics_name_index on device_metrics (name)`,
  // As device_state: most updates change the time alone, and stay on their page.
  `create table device_positions (
    device_id uuid not null,
    received_at timestamptz not null,
    position point not null,
    accuracy_meters real,
    altitude_meters real,
    fix_time timestamptz,
    primary key (device_id),
    constraint device_positions_device_id_foreign foreign key (device_id) references devices (id) on update cascade on delete cascade
  ) with (fillfactor = 70)`,
  `create index device_positions_position_index on device_positions using gist (position)`,
];
