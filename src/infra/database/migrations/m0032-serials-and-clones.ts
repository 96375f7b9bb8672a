import { Migration } from "@mikro-orm/migrations";

/** Which serial numbers an enrolment key is for. */
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
  }

  override down(): void {
    this.addSql("drop table enrolment_key_serials");
    this.addSql(
      "alter table enrolment_keys drop column serial_number_patterns, drop column serial_number_count",
    );
  }
}
