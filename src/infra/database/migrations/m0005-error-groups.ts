import { Migration } from "@mikro-orm/migrations";

/** Errors and crashes: the groups with their counts, their occurrences, and crash logs. */
export class ErrorGroups extends Migration {
  override up(): void {
    for (const statement of statements) this.addSql(statement);
  }

  override down(): void {
    this.addSql("drop trigger note_errors on device_heartbeats");
    this.addSql("drop function note_heartbeat_errors()");
    for (const table of tables.toReversed()) this.addSql(`drop table ${table}`);
  }
}

/** In the order of their foreign keys. */
const tables = [
  "error_inbox",
  "error_groups",
  "error_counts",
  "error_group_devices",
  "error_occurrences",
  "crash_logs",
];

const statements = [
  // A queue: it is short, and every row dies young. Vacuum by their number, not by their share of nothing.
  `create table error_inbox (
    received_at timestamptz not null,
    device_id uuid not null,
    sequence bigint not null,
    primary key (received_at, device_id, sequence)
  ) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000)`,
  `create table error_groups (
    id uuid not null,
    fingerprint text not null,
    fingerprint_version smallint not null,
    state text not null,
    title text not null,
    code text not null,
    severity smallint not null,
    fatal boolean not null,
    stack_kind text not null,
    occurrence_count bigint not null,
    device_count bigint not null,
    first_seen_at timestamptz not null,
    last_seen_at timestamptz not null,
    first_seen_version text not null,
    last_seen_version text not null,
    resolved_version text not null default '',
    regressed_at timestamptz,
    state_reason text not null default '',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (id),
    constraint error_groups_fingerprint_unique unique (fingerprint)
  )`,
  `create index error_groups_last_seen_at_index on error_groups (last_seen_at, id)`,
  `create index error_groups_first_seen_at_index on error_groups (first_seen_at, id)`,
  `create index error_groups_occurrence_count_index on error_groups (occurrence_count, id)`,
  `create index error_groups_device_count_index on error_groups (device_count, id)`,
  `create table error_counts (
    group_id uuid not null,
    day date not null,
    firmware_version text not null,
    device_type text not null,
    occurrence_count bigint not null,
    primary key (group_id, day, firmware_version, device_type),
    constraint error_counts_group_id_foreign foreign key (group_id) references error_groups (id) on delete cascade
  )`,
  `create index error_counts_firmware_version_index on error_counts (firmware_version, group_id)`,
  `create index error_counts_day_index on error_counts (day)`,
  `create table error_group_devices (
    group_id uuid not null,
    device_id uuid not null,
    occurrence_count bigint not null,
    first_seen_at timestamptz not null,
    last_seen_at timestamptz not null,
    last_seen_version text not null,
    kept_hour timestamptz not null,
    kept_count smallint not null,
    primary key (group_id, device_id),
    constraint error_group_devices_group_id_foreign foreign key (group_id) references error_groups (id) on delete cascade
  )`,
  `create index error_group_devices_last_seen_at_index on error_group_devices (group_id, last_seen_at, device_id)`,
  // One occurrence names an entry in `errors` of its heartbeat, which is kept as long: the text is stored once.
  `create table error_occurrences (
    device_id uuid not null,
    received_at timestamptz not null,
    id uuid not null,
    group_id uuid not null,
    sequence bigint not null,
    position smallint not null,
    crash_log_id uuid,
    primary key (device_id, received_at, id)
  ) partition by range (received_at)`,
  `create index error_occurrences_group_id_index on error_occurrences (group_id, received_at, id)`,
  `create table crash_logs (
    id uuid not null,
    device_id uuid not null,
    sha256 text not null,
    size_bytes bigint not null,
    object_sha256 text not null,
    stored_at timestamptz,
    referenced_at timestamptz,
    created_at timestamptz not null default now(),
    primary key (id)
  )`,
  `create index crash_logs_device_id_index on crash_logs (device_id, created_at)`,
  `create index crash_logs_created_at_index on crash_logs (created_at)`,
  `create function note_heartbeat_errors() returns trigger language plpgsql as $$
  begin
    insert into error_inbox (received_at, device_id, sequence) values (new.received_at, new.device_id, new.sequence);
    return null;
  end $$`,
  // In the transaction that stores the heartbeat, so that no error is lost or counted twice. Heartbeats without errors
  // only pay for the test of the condition.
  `create trigger note_errors after insert on device_heartbeats for each row when (new.errors is not null)
    execute function note_heartbeat_errors()`,
];
