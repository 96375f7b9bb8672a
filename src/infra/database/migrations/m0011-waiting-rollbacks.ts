import { Migration } from "@mikro-orm/migrations";

/** Devices whose rollback waits until their update of another component is over, found by their rollout. */
export class WaitingRollbacks extends Migration {
  override up(): void {
    this.addSql("alter table device_updates add column take_back_by timestamptz");
    this.addSql(
      `create index device_updates_take_back_by_index on device_updates (rollout_id, take_back_by)
        where take_back_by is not null`,
    );
  }

  override down(): void {
    this.addSql("alter table device_updates drop column take_back_by");
  }
}
