import { Migration } from "@mikro-orm/migrations";

/**
 * Words instead of the contract's numbers: how a device is connected, and how bad an error is.
 *
 * Heartbeats and states get a new column beside the old one. To change the type of a column would rewrite its table under a
 * lock that nobody reads or writes past: seconds a million heartbeats, so hours for a month of 100,000 devices. A column that
 * may be null costs nothing, whatever the size. Old heartbeats keep their number, which is read in place of the word until
 * their day is dropped; the same holds for the severities in their documents. States, one row a device, get the word here:
 * some 5 s for 200,000 of them, in which their writers wait.
 *
 * A release from before may run beside this one. It goes on with the old columns, and a device that is heard through it has
 * the network that this release last heard of. Only groups of errors change in place, as they are few: a release from before
 * can neither list them nor add to them any more; what it cannot add waits in the inbox.
 *
 * Once no such release runs and the days from before are gone, the old columns can be dropped, which costs nothing either.
 *
 * A word takes 5 to 9 bytes of some 200 that a heartbeat has (208 with WIFI, 216 with CELLULAR, in steps of 8). An enum type
 * of PostgreSQL takes 4, which is no less for WIFI, and a new word of it could not be used in the transaction that adds it.
 */
export class Words extends Migration {
  override up(): void {
    for (const statement of up) this.addSql(statement);
  }

  override down(): void {
    for (const statement of down) this.addSql(statement);
  }
}

const networks = ["ETHERNET", "WIFI", "CELLULAR", "LPWAN", "SATELLITE"];
const severities = ["UNSPECIFIED", "INFO", "WARNING", "ERROR", "CRITICAL"];

function wordOf(number: string, words: readonly string[], first: number): string {
  return `('{${words.join(",")}}'::text[])[${number} + ${1 - first}]`;
}

function numberOf(word: string, words: readonly string[], first: number): string {
  return `(array_position('{${words.join(",")}}'::text[], ${word}) - ${1 - first})::smallint`;
}

/** As m0003 has it, but for the network: `network` is its column, counted by name or by number. */
function stateRows(source: string, sign: 1 | -1, network: string): string {
  return `select ${sign} as n, floor(date_part('epoch', last_seen_at))::bigint as seen,
      nullif(firmware_version, '') as version, nullif(carrier, '') as carrier, ${network} as network,
      width_bucket(battery_percent::double precision,
        '{10, 20, 30, 40, 50, 60, 70, 80, 90}'::double precision[])::bigint as battery,
      width_bucket(storage_free_bytes,
        '{16777216, 67108864, 268435456, 1073741824, 4294967296, 17179869184}'::bigint[])::bigint as storage,
      width_bucket(signal_dbm::integer, '{-110, -100, -90, -80, -70, -60}'::integer[])::bigint as signal
    from ${source} where in_service`;
}

interface Network {
  readonly column: string;
  readonly name: string;
  readonly number: string;
}

const byWord: Network = {
  column: "network",
  name: "coalesce(version, carrier, network)",
  number: "coalesce(seen, battery, storage, signal)",
};

const byNumber: Network = {
  column: "network_type::bigint",
  name: "coalesce(version, carrier)",
  number: "coalesce(seen, network, battery, storage, signal)",
};

function stateCounts(rows: string, { name, number }: Network): string {
  return `select dimension, name, number, count from (
    select case when grouping(seen) = 0 then 'seen' when grouping(version) = 0 then 'firmware_version'
        when grouping(carrier) = 0 then 'carrier' when grouping(network) = 0 then 'network_type'
        when grouping(battery) = 0 then 'battery_percent' when grouping(storage) = 0 then 'storage_free_bytes'
        else 'signal_dbm' end as dimension,
      ${name} as name, ${number} as number, sum(n) as count
    from (${rows}) r
    group by grouping sets ((seen), (version), (carrier), (network), (battery), (storage), (signal))
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

/** The functions that keep the fleet's counters, with networks counted in one way or the other. */
function counting(network: Network): string[] {
  const rows = (source: string, sign: 1 | -1) => stateRows(source, sign, network.column);
  const insert = (counted: string) =>
    `insert into fleet_counts (dimension, name, number, count) ${stateCounts(counted, network)}`;
  const trigger = (name: string, body: string) =>
    `create or replace function fleet_count_state_${name}() returns trigger language plpgsql as
       $$ begin ${body}; return null; end $$`;
  return [
    `create or replace function fleet_recount() returns table (dimension text, name text, number bigint, count numeric)
     language sql stable as $$ ${stateCounts(rows("device_state", 1), network)}
     union all select * from (${deviceCounts}) d $$`,
    trigger(
      "inserts",
      `${insert(rows("new_rows", 1))};
       if exists (select from new_rows) then
         perform from devices where id in (select device_id from new_rows) order by id for share;
         update device_state s set in_service = false from devices d
           where d.id = s.device_id and s.device_id in (select device_id from new_rows) and d.is_deleted and s.in_service;
       end if`,
    ),
    trigger("updates", insert(`${rows("old_rows", -1)} union all ${rows("new_rows", 1)}`)),
    trigger("deletes", insert(rows("old_rows", -1))),
  ];
}

const up = [
  "alter table device_heartbeats add column network text",
  "alter table device_state add column network text",
  // Before the functions, so that the counters are turned once, below, and not counted twice.
  `update device_state set network = ${wordOf("network_type", networks, 1)} where network_type > 0`,
  `delete from fleet_counts where dimension = 'network_type' and number = 0`,
  `update fleet_counts set name = ${wordOf("number", networks, 1)}, number = null where dimension = 'network_type'`,
  ...counting(byWord),
  `alter table error_groups alter severity type text using ${wordOf("severity", severities, 0)}`,
];

const down = [
  `alter table error_groups alter severity type smallint using ${numberOf("severity", severities, 0)}`,
  // What this release wrote; the rest has its number still.
  `update device_state set network_type = ${numberOf("network", networks, 1)} where network is not null`,
  `update device_heartbeats set network_type = ${numberOf("network", networks, 1)} where network is not null`,
  ...counting(byNumber),
  `delete from fleet_counts where dimension = 'network_type'`,
  `insert into fleet_counts (dimension, name, number, count)
     select * from fleet_recount() where dimension = 'network_type'`,
  "alter table device_state drop column network",
  "alter table device_heartbeats drop column network",
];
