import { Migration } from "@mikro-orm/migrations";

/**
 * Rollouts, rings and device updates carry an integration's own keys, and rollouts that are over can be archived with their
 * rings and device updates. Columns with a constant default, and those without one, cost no rewrite; a device update without
 * keys has none stored, so that an offer writes no more than before.
 */
export class MetadataAndArchive extends Migration {
  override up(): void {
    this.addSql(`alter table rollouts add column metadata jsonb not null default '{}',
      add column archived_at timestamptz, add column unmarked_after uuid`);
    this.addSql(`alter table deployment_rings add column metadata jsonb not null default '{}',
      add column is_deleted boolean not null default false`);
    this.addSql("alter table device_updates add column metadata jsonb");
  }

  override down(): void {
    this.addSql("alter table device_updates drop column metadata");
    this.addSql("alter table deployment_rings drop column metadata, drop column is_deleted");
    this.addSql(
      `alter table rollouts drop column metadata, drop column archived_at, drop column unmarked_after`,
    );
  }
}
