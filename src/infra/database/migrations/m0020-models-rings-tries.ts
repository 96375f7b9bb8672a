import { Migration } from "@mikro-orm/migrations";

/**
 * Rings that are to hold so many devices, and so end between two basis points. And the further tries of a rollout that wait,
 * which take no slot of its limit: they are few.
 */
export class ModelsRingsTries extends Migration {
  override up(): void {
    this.addSql(`alter table deployment_rings add column device_target integer,
      alter column percent_basis_points type double precision`);
    this.addSql(`create index device_updates_waiting_tries on device_updates (rollout_id)
      where not_before is not null and ended_at is null`);
  }

  override down(): void {
    this.addSql(`alter table deployment_rings drop column device_target,
      alter column percent_basis_points type integer using ceil(percent_basis_points)`);
    this.addSql("drop index device_updates_waiting_tries");
  }
}
