import { Migration } from "@mikro-orm/migrations";

/**
 * What the rings of a rollout are told by can be known before it exists; null stands for its id, as it was. And of the devices
 * of a ring that wait for the update, how many can be reached, are held back, or are gone. And the versions that a rollback
 * misses in the catalogue.
 */
export class Foresight extends Migration {
  override up(): void {
    this.addSql("alter table rollouts add column salt uuid");
    this.addSql("create unique index rollouts_salt_unique on rollouts (coalesce(salt, id))");
    this.addSql("alter table rollouts add column missing_versions text[] not null default '{}'");
    for (const name of added) this.addSql(`alter table deployment_rings add column ${name}_count bigint`);
  }

  override down(): void {
    for (const name of added) this.addSql(`alter table deployment_rings drop column ${name}_count`);
    this.addSql("alter table rollouts drop column salt, drop column missing_versions");
  }
}

const added = ["reachable", "held_back", "gone"];
