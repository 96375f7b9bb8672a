import { Migration } from "@mikro-orm/migrations";

/** What tells whether the service can do its work: a row that readiness writes. */
export class Soundness extends Migration {
  override up(): void {
    this.addSql(
      "create table write_probe (id smallint not null, written_at timestamptz not null, primary key (id))",
    );
  }

  override down(): void {
    this.addSql("drop table write_probe");
  }
}
