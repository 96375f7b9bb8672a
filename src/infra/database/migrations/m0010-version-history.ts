import { Migration } from "@mikro-orm/migrations";

/** How many devices ran which version of what, hour by hour. */
export class VersionHistory extends Migration {
  override up(): void {
    this.addSql(`create table fleet_version_history (
      hour timestamptz not null,
      component text not null,
      version text not null,
      device_count bigint not null,
      counted_at timestamptz not null,
      primary key (hour, component, version)
    )`);
  }

  override down(): void {
    this.addSql("drop table fleet_version_history");
  }
}
