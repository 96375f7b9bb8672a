import { Migration } from "@mikro-orm/migrations";

/** Components and positions' times of heartbeats; the fleet's counters, kept by triggers; a log of devices that come and go. */
export class FleetState extends Migration {
  override up(): void {
    for (const statement of up) this.addSql(statement);
  }

  override down(): void {
    for (const statement of down) this.addSql(statement);
  }
}

/** What a device's state adds to the counters, as columns of `source`. */
function stateRows(source: string, sign: 1 | -1): string {
  return `select ${sign} as n, floor(date_part('epoch', last_seen_at))::bigint as seen,
      nullif(firmware_version, '') as version, nullif(carrier, '') as carrier, network_type::bigint as network,
      width_bucket(battery_percent::double precision,
        '{10, 20, 30, 40, 50, 60, 70, 80, 90}'::double precision[])::bigint as battery,
      width_bucket(storage_free_bytes,
        '{16777216, 67108864, 268435456, 1073741824, 4294967296, 17179869184}'::bigint[])::bigint as storage,
      width_bucket(signal_dbm::integer, '{-110, -100, -90, -80, -70, -60}'::integer[])::bigint as signal
    from ${source} where in_service`;
}

/** The sums of such rows. What did not change cancels out, so that only changes leave a row. */
function stateCounts(rows: string): string {
  return `select dimension, name, number, count from (
    select case when grouping(seen) = 0 then 'seen' when grouping(version) = 0 then 'firmware_version'
        when grouping(carrier) = 0 then 'carrier' when grouping(network) = 0 then 'network_type'
        when grouping(battery) = 0 then 'battery_percent' when grouping(storage) = 0 then 'storage_free_bytes'
        else 'signal_dbm' end as dimension,
      coalesce(version, carrier) as name, coalesce(seen, network, battery, storage, signal) as number, sum(n) as count
    from (${rows}) r
    group by grouping sets ((seen), (version), (carrier), (network), (battery), (storage), (signal))
    having sum(n) <> 0
  ) counts where name is not null or number is not null`;
}

/** The same for devices' records. */
function deviceRows(source: string, sign: 1 | -1): string {
  return `select ${sign} as n, device_type, hardware_model, groups from ${source} where not is_deleted`;
}

function deviceCounts(rows: string): string {
  return `with r as (${rows})
    select case when grouping(device_type) = 0 then 'device_type' when grouping(hardware_model) = 0 then 'hardware_model'
        else 'total' end as dimension,
      coalesce(device_type, hardware_model) as name, null::bigint as number, sum(n) as count
    from r group by grouping sets ((), (device_type), (hardware_model)) having sum(n) <> 0
    union all
    select 'group', g, null, sum(n) from r, unnest(groups) g group by g having sum(n) <> 0`;
}

const intoCounts = "insert into fleet_counts (dimension, name, number, count)";

function trigger(name: string, table: string, event: "insert" | "update" | "delete", body: string): string[] {
  const transition = {
    insert: "new table as new_rows",
    update: "old table as old_rows new table as new_rows",
    delete: "old table as old_rows",
  }[event];
  return [
    `create function ${name}() returns trigger language plpgsql as $$ begin ${body}; return null; end $$`,
    `create trigger ${name} after ${event} on ${table} referencing ${transition}
       for each statement execute function ${name}()`,
  ];
}

const up = [
  `alter table device_heartbeats add column components jsonb, add column fix_time timestamptz`,
  `alter table device_state add column components jsonb, add column fix_time timestamptz,
     add column in_service boolean not null default true`,
  `update device_state s set in_service = false from devices d where d.id = s.device_id and d.is_deleted`,
  // Rows are only ever added, and folded together from time to time: writers never wait for one another.
  `create table fleet_counts (
    id bigserial not null,
    dimension text not null,
    name text,
    number bigint,
    count bigint not null,
    primary key (id)
  )`,
  `create table presence_changes (
    id bigserial not null,
    device_id uuid,
    presence text not null default '',
    previous_presence text not null default '',
    last_seen_at timestamptz,
    changed_at timestamptz not null default now(),
    lost_count bigint not null default '0',
    primary key (id),
    constraint presence_changes_device_id_presence_last_seen_at_unique unique (device_id, presence, last_seen_at)
  )`,
  `create function fleet_recount() returns table (dimension text, name text, number bigint, count numeric)
     language sql stable as $$ ${stateCounts(stateRows("device_state", 1))}
     union all select * from (${deviceCounts(deviceRows("devices", 1))}) d $$`,
  `${intoCounts} select * from fleet_recount()`,
  ...trigger(
    "fleet_count_state_inserts",
    "device_state",
    "insert",
    // A device that is being retired at this moment: one of the two waits here for the other, and sees what it did.
    `${intoCounts} ${stateCounts(stateRows("new_rows", 1))};
     if exists (select from new_rows) then
       perform from devices where id in (select device_id from new_rows) order by id for share;
       update device_state s set in_service = false from devices d
         where d.id = s.device_id and s.device_id in (select device_id from new_rows) and d.is_deleted and s.in_service;
     end if`,
  ),
  ...trigger(
    "fleet_count_state_updates",
    "device_state",
    "update",
    `${intoCounts} ${stateCounts(`${stateRows("old_rows", -1)} union all ${stateRows("new_rows", 1)}`)}`,
  ),
  ...trigger(
    "fleet_count_state_deletes",
    "device_state",
    "delete",
    `${intoCounts} ${stateCounts(stateRows("old_rows", -1))}`,
  ),
  ...trigger(
    "fleet_count_device_inserts",
    "devices",
    "insert",
    `${intoCounts} ${deviceCounts(deviceRows("new_rows", 1))}`,
  ),
  ...trigger(
    "fleet_count_device_updates",
    "devices",
    "update",
    `${intoCounts} ${deviceCounts(`${deviceRows("old_rows", -1)} union all ${deviceRows("new_rows", 1)}`)};
     if exists (select from old_rows o join new_rows n using (id) where o.is_deleted <> n.is_deleted) then
       update device_state s set in_service = not n.is_deleted from new_rows n join old_rows o using (id)
         where s.device_id = n.id and o.is_deleted <> n.is_deleted;
     end if`,
  ),
  ...trigger(
    "fleet_count_device_deletes",
    "devices",
    "delete",
    `${intoCounts} ${deviceCounts(deviceRows("old_rows", -1))}`,
  ),
];

const counted = [
  ["state_inserts", "device_state"],
  ["state_updates", "device_state"],
  ["state_deletes", "device_state"],
  ["device_inserts", "devices"],
  ["device_updates", "devices"],
  ["device_deletes", "devices"],
] as const;

const down = [
  ...counted.flatMap(([name, table]) => [
    `drop trigger fleet_count_${name} on ${table}`,
    `drop function fleet_count_${name}()`,
  ]),
  `drop function fleet_recount()`,
  `drop table presence_changes`,
  `drop table fleet_counts`,
  `alter table device_state drop column in_service, drop column fix_time, drop column components`,
  `alter table device_heartbeats drop column fix_time, drop column components`,
];
