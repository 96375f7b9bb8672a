import { Migration } from "@mikro-orm/migrations";

/** Finds the further tries of a rollout that wait: they take no slot of its limit. They are few. */
export class ModelsRingsTries extends Migration {
  override up(): void {
    this.addSql(`create index device_updates_waiting_tries on device_updates (rollout_id)
      where not_before is not null and ended_at is null`);
  }

  override down(): void {
    this.addSql("drop index device_updates_waiting_tries");
  }
}
