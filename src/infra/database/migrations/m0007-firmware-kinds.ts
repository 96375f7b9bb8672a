import { Migration } from "@mikro-orm/migrations";

/** What an update replaces, which versions must not be skipped, and the pace of offers. */
export class FirmwareKinds extends Migration {
  override up(): void {
    this.addSql(`alter table firmware_updates
      add column kind text not null default 'FIRMWARE',
      add column component text not null default '',
      add column mandatory_step boolean not null default false`);
    this.addSql(
      "alter table rollouts add column pace_began_at timestamptz, add column pace_count integer not null default 0",
    );
  }

  override down(): void {
    this.addSql("alter table rollouts drop column pace_began_at, drop column pace_count");
    this.addSql(
      "alter table firmware_updates drop column kind, drop column component, drop column mandatory_step",
    );
  }
}
