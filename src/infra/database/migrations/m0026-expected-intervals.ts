import { Migration } from "@mikro-orm/migrations";

/**
 * How often a sign of life of each device is expected: what operators say of devices and of device types, and, beside the
 * newest reading, what follows for each device. Presence is counted by that interval too.
 *
 * The counters of a release from before, which may run beside this one, add up under all intervals: it judges all devices by
 * the service's setting, as ever.
 */
export class ExpectedIntervals extends Migration {
  override up(): void {
    for (const statement of up) this.addSql(statement);
  }

  override down(): void {
    for (const statement of down) this.addSql(statement);
  }
}

/** As m0013 has it, with the interval if that is to be counted: null where the service's setting holds. */
function stateRows(source: string, sign: 1 | -1, interval: boolean): string {
  return `select ${sign} as n, floor(date_part('epoch', last_seen_at))::bigint as seen,
      ${interval ? "expected_interval_ms::text" : "null::text"} as interval,
      nullif(firmware_version, '') as version, nullif(carrier, '') as carrier, network,
      width_bucket(battery_percent::double precision,
        '{10, 20, 30, 40, 50, 60, 70, 80, 90}'::double precision[])::bigint as battery,
      width_bucket(storage_free_bytes,
        '{16777216, 67108864, 268435456, 1073741824, 4294967296, 17179869184}'::bigint[])::bigint as storage,
      width_bucket(signal_dbm::integer, '{-110, -100, -90, -80, -70, -60}'::integer[])::bigint as signal
    from ${source} where in_service`;
}

function stateCounts(rows: string): string {
  return `select dimension, name, number, count from (
    select case when grouping(seen) = 0 then 'seen' when grouping(version) = 0 then 'firmware_version'
        when grouping(carrier) = 0 then 'carrier' when grouping(network) = 0 then 'network_type'
        when grouping(battery) = 0 then 'battery_percent' when grouping(storage) = 0 then 'storage_free_bytes'
        else 'signal_dbm' end as dimension,
      coalesce(interval, version, carrier, network) as name, coalesce(seen, battery, storage, signal) as number,
      sum(n) as count
    from (${rows}) r
    group by grouping sets ((seen, interval), (version), (carrier), (network), (battery), (storage), (signal))
    having sum(n) <> 0
  ) counts where name is not null or number is not null`;
}

const deviceCounts = `with r as (select 1 as n, device_type, hardware_model, groups from devices where not is_deleted)
    select case when grouping(device_type) = 0 then 'device_type' when grouping(hardware_model) = 0 then 'hardware_model'
        else 'total' end as dimension,
      coalesce(device_type, hardware_model) as name, null::bigint as number, sum(n) as count
    from r group by grouping sets ((), (device_type), (hardware_model)) having sum(n) <> 0
    union all
    select 'group', g, null, sum(n) from r, unnest(groups) g group by g having sum(n) <> 0`;

/**
 * The interval of newcomers among the states. A type that changes at this moment waits for whoever adds one, so that what
 * spreads it over the devices afterwards finds all that were added under what held before.
 */
const settleNewcomers = `lock table device_types in row share mode;
  update device_state s set expected_interval_ms = expected_interval_of(d)
    from new_rows n join devices d on d.id = n.device_id
    where s.device_id = n.device_id and s.expected_interval_ms is distinct from expected_interval_of(d)`;

/** The functions that keep the counters of states. */
function counting(interval: boolean): string[] {
  const rows = (source: string, sign: 1 | -1) => stateRows(source, sign, interval);
  const insert = (counted: string) =>
    `insert into fleet_counts (dimension, name, number, count) ${stateCounts(counted)}`;
  const trigger = (name: string, body: string) =>
    `create or replace function fleet_count_state_${name}() returns trigger language plpgsql as
       $$ begin ${body}; return null; end $$`;
  return [
    `create or replace function fleet_recount() returns table (dimension text, name text, number bigint, count numeric)
     language sql stable as $$ ${stateCounts(rows("device_state", 1))}
     union all select * from (${deviceCounts}) d $$`,
    trigger(
      "inserts",
      `${insert(rows("new_rows", 1))};
       if exists (select from new_rows) then
         perform from devices where id in (select device_id from new_rows) order by id for share;
         update device_state s set in_service = false from devices d
           where d.id = s.device_id and s.device_id in (select device_id from new_rows) and d.is_deleted and s.in_service;
         ${interval ? `${settleNewcomers};` : ""}
       end if`,
    ),
    trigger("updates", insert(`${rows("old_rows", -1)} union all ${rows("new_rows", 1)}`)),
    trigger("deletes", insert(rows("old_rows", -1))),
  ];
}

const up = [
  `create table device_types (
    name text not null,
    expected_interval_ms bigint,
    revision int not null default 1,
    is_spread boolean not null default false,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (name)
  )`,
  "alter table devices add column expected_interval_ms bigint",
  "alter table device_state add column expected_interval_ms bigint",
  // What goes before what: an operator's word for the device, its own word, an operator's word for its type.
  `create function expected_interval_of(d devices) returns bigint language sql stable as
     $$ select coalesce(d.expected_interval_ms, (d.reported->>'intervalMs')::bigint,
          (select t.expected_interval_ms from device_types t where t.name = d.device_type)) $$`,
  ...counting(true),
  `create function device_interval_changes() returns trigger language plpgsql as $$ begin
     if exists (select from old_rows o join new_rows n using (id)
         where (o.expected_interval_ms, o.reported->>'intervalMs', o.device_type, o.is_deleted)
           is distinct from (n.expected_interval_ms, n.reported->>'intervalMs', n.device_type, n.is_deleted)) then
       lock table device_types in row share mode;
       update device_state s set expected_interval_ms = expected_interval_of(d)
         from new_rows n join devices d on d.id = n.id
         where s.device_id = n.id and s.expected_interval_ms is distinct from expected_interval_of(d);
     end if;
     return null;
   end $$`,
  `create trigger device_interval_changes after update on devices
     referencing old table as old_rows new table as new_rows for each statement execute function device_interval_changes()`,
];

const down = [
  "drop trigger device_interval_changes on devices",
  "drop function device_interval_changes()",
  ...counting(false),
  // Counted under one interval again.
  "update fleet_counts set name = null where dimension = 'seen'",
  "drop function expected_interval_of(devices)",
  "alter table device_state drop column expected_interval_ms",
  "alter table devices drop column expected_interval_ms",
  "drop table device_types",
];
