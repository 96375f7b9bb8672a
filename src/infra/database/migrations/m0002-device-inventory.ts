import { Migration } from "@mikro-orm/migrations";

/** Tags and pins of devices, saved filters, versions that sort, and what the filters of the audit log need. */
export class DeviceInventory extends Migration {
  override up(): void {
    for (const statement of up) this.addSql(statement);
  }

  override down(): void {
    for (const statement of down) this.addSql(statement);
  }
}

const up = [
  `alter table devices
    add column tags text[] not null default '{}',
    add column update_pin text not null default 'none'`,
  `create index devices_tags_index on devices using gin (tags)`,
  // By bytes: the order of lists by serial number, and the beginnings that filters ask for.
  `create index devices_serial_number_order_index on devices (serial_number collate "C", id)`,
  `create table saved_filters (
    id uuid not null,
    name text not null,
    filter text not null,
    creator text not null,
    created_at timestamptz not null default now(),
    primary key (id),
    constraint saved_filters_name_unique unique (name)
  )`,
  `create index audit_events_actor_index on audit_events (actor, id)`,
  `create index audit_events_action_index on audit_events (action, id)`,
  `create index audit_events_resource_type_index on audit_events (resource_type, id)`,
  // The text of versionKey in src/version/version-key.ts, so that both sort versions alike. In PL/pgSQL, and with
  // the plain releases first: 3 us a call instead of 18 us as an SQL function with one pattern for all.
  `create function semver_key(version text) returns text language plpgsql immutable strict parallel safe as $$
    declare
      core text[];
    begin
      if version ~ '^[0-9]{1,16}\\.[0-9]{1,16}\\.[0-9]{1,16}$' and version !~ '(?:^|\\.)0[0-9]' then
        return lpad(length(split_part(version, '.', 1))::text, 3, '0') || split_part(version, '.', 1) ||
               lpad(length(split_part(version, '.', 2))::text, 3, '0') || split_part(version, '.', 2) ||
               lpad(length(split_part(version, '.', 3))::text, 3, '0') || split_part(version, '.', 3) || '~';
      end if;
      core := regexp_match(version,
        '^v?(0|[1-9][0-9]{0,15})\\.(0|[1-9][0-9]{0,15})\\.(0|[1-9][0-9]{0,15})' ||
        '(?:-((?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)(?:\\.(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*))*))?' ||
        '(?:\\+[0-9A-Za-z-]+(?:\\.[0-9A-Za-z-]+)*)?$');
      if core is null then
        return null;
      end if;
      return lpad(length(core[1])::text, 3, '0') || core[1] ||
             lpad(length(core[2])::text, 3, '0') || core[2] ||
             lpad(length(core[3])::text, 3, '0') || core[3] ||
             case when core[4] is null then '~' else (
               select string_agg(
                        case when identifier ~ '^[0-9]+$'
                             then '0' || lpad(length(identifier)::text, 3, '0') || identifier
                             else '1' || identifier end,
                        ' ' order by place)
                 from unnest(string_to_array(core[4], '.')) with ordinality as part (identifier, place)
             ) end;
    end
  $$`,
];

const down = [
  `drop function semver_key(text)`,
  `drop index audit_events_resource_type_index`,
  `drop index audit_events_action_index`,
  `drop index audit_events_actor_index`,
  `drop table saved_filters`,
  `drop index devices_serial_number_order_index`,
  `alter table devices drop column update_pin, drop column tags`,
];
