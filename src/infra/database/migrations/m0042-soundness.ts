import { Migration } from "@mikro-orm/migrations";

/** What tells whether the service can do its work: a row that readiness writes, and which stored content is damaged. */
export class Soundness extends Migration {
  override up(): void {
    this.addSql(
      "create table write_probe (id smallint not null, written_at timestamptz not null, primary key (id))",
    );
    this.addSql(
      "alter table firmware_updates add column damaged_at timestamptz, add column check_due_at timestamptz not null default now()",
    );
  }

  override down(): void {
    this.addSql("alter table firmware_updates drop column damaged_at, drop column check_due_at");
    this.addSql("drop table write_probe");
  }
}
