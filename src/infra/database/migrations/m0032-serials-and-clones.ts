import { Migration } from "@mikro-orm/migrations";

/** Which serial numbers an enrolment key is for; under which boots devices are heard, and since when one is suspected to have a clone. */
export class SerialsAndClones extends Migration {
  override up(): void {
    this.addSql(`alter table enrolment_keys
      add column serial_number_patterns text[] not null default '{}',
      add column serial_number_count bigint not null default '0'`);
    this.addSql(`create table enrolment_key_serials (
      enrolment_key_id uuid not null,
      serial_number text not null,
      primary key (enrolment_key_id, serial_number),
      constraint enrolment_key_serials_enrolment_key_id_foreign foreign key (enrolment_key_id) references enrolment_keys (id))`);
    this.addSql("alter table devices add column clone_suspected_at timestamptz");
    this.addSql(`create index devices_clone_suspected_at_index on devices (clone_suspected_at, id)
      where clone_suspected_at is not null`);
    this.addSql(`create table device_boots (
      device_id uuid not null,
      boots jsonb not null default '[]',
      returns_ms jsonb not null default '[]',
      updated_at timestamptz not null default now(),
      primary key (device_id))`);
  }

  override down(): void {
    this.addSql("drop table device_boots");
    this.addSql("alter table devices drop column clone_suspected_at");
    this.addSql("drop table enrolment_key_serials");
    this.addSql(
      "alter table enrolment_keys drop column serial_number_patterns, drop column serial_number_count",
    );
  }
}
