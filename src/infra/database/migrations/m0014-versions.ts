import { Migration } from "@mikro-orm/migrations";

/**
 * One version, many texts: which texts name which firmware of a product.
 *
 * The keys are kept by a trigger, so that a release from before, which may run beside this one, cannot leave them behind; and
 * they are unique, so that two firmwares of a product cannot claim one text, whoever creates them at the same time. Versions
 * of a product that are in the catalogue have been canonical and unique, so that what is there finds its keys free.
 */
export class Versions extends Migration {
  override up(): void {
    for (const statement of up) this.addSql(statement);
  }

  override down(): void {
    for (const statement of down) this.addSql(statement);
  }
}

/** As m0002 has it, but for the letters that may stand in front. */
function semverKey(prefix: string): string {
  return `create or replace function semver_key(version text) returns text language plpgsql immutable strict parallel safe as $$
    declare
      core text[];
    begin
      if version ~ '^[0-9]{1,16}\\.[0-9]{1,16}\\.[0-9]{1,16}$' and version !~ '(?:^|\\.)0[0-9]' then
        return lpad(length(split_part(version, '.', 1))::text, 3, '0') || split_part(version, '.', 1) ||
               lpad(length(split_part(version, '.', 2))::text, 3, '0') || split_part(version, '.', 2) ||
               lpad(length(split_part(version, '.', 3))::text, 3, '0') || split_part(version, '.', 3) || '~';
      end if;
      core := regexp_match(version,
        '^${prefix}?(0|[1-9][0-9]{0,15})\\.(0|[1-9][0-9]{0,15})\\.(0|[1-9][0-9]{0,15})' ||
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
  $$`;
}

const up = [
  semverKey("[vV]"),
  // The text of versionIdentity in src/version/version-key.ts.
  `create function version_identity(version text) returns text language sql immutable strict parallel safe as
     $$ select coalesce(semver_key(version), '=' || version) $$`,
  // One text for all versions of equal precedence, by which they are counted; other texts as they are.
  `create function version_name(version text) returns text language sql immutable strict parallel safe as
     $$ select case when semver_key(version) is null then version
          else regexp_replace(regexp_replace(version, '^[vV]', ''), '\\+.*$', '') end $$`,
  `alter table firmware_updates add column reported_versions text[] not null default '{}'`,
  `create table firmware_version_keys (
    product text not null,
    identity text not null,
    firmware_id uuid not null,
    constraint firmware_version_keys_pkey primary key (product, identity),
    constraint firmware_version_keys_firmware_id_foreign foreign key (firmware_id) references firmware_updates (id)
      on delete cascade
  )`,
  `create index firmware_version_keys_firmware_id_index on firmware_version_keys (firmware_id)`,
  `create function firmware_keep_version_keys() returns trigger language plpgsql as $$
    begin
      delete from firmware_version_keys where firmware_id = new.id;
      if not new.is_deleted then
        insert into firmware_version_keys (product, identity, firmware_id)
          select distinct new.product, version_identity(text), new.id
          from unnest(array_prepend(new.version, new.reported_versions)) as text;
      end if;
      return null;
    end
  $$`,
  `insert into firmware_version_keys (product, identity, firmware_id)
     select product, version_identity(version), id from firmware_updates where not is_deleted`,
  `create trigger firmware_keep_version_keys after insert or update of product, version, reported_versions, is_deleted
     on firmware_updates for each row execute function firmware_keep_version_keys()`,
];

const down = [
  `drop trigger firmware_keep_version_keys on firmware_updates`,
  `drop function firmware_keep_version_keys()`,
  `drop table firmware_version_keys`,
  `alter table firmware_updates drop column reported_versions`,
  `drop function version_name(text)`,
  `drop function version_identity(text)`,
  semverKey("v"),
];
