import { Migration } from "@mikro-orm/migrations";

/**
 * Names under which devices report a hardware model beside its own. Rings that are to hold so many devices, and so end between two basis points. And the further tries of a rollout that wait,
 * which take no slot of its limit: they are few.
 */
export class ModelsRingsTries extends Migration {
  override up(): void {
    this.addSql(`create table model_aliases (
      alias text not null,
      hardware_model text not null,
      creator text not null,
      created_at timestamptz not null default now(),
      primary key (alias)
    )`);
    // All names of the models that are named.
    this.addSql(`create function model_names(models text[]) returns text[] language sql stable strict parallel safe as $$
      select models || array(
        select n.name from model_aliases a, unnest(array[a.alias, a.hardware_model]) n (name)
        where a.hardware_model = any (models)
          or a.hardware_model in (select b.hardware_model from model_aliases b where b.alias = any (models)))
    $$`);
    this.addSql(`alter table deployment_rings add column device_target integer,
      alter column percent_basis_points type double precision`);
    this.addSql(`create index device_updates_waiting_tries on device_updates (rollout_id)
      where not_before is not null and ended_at is null`);
  }

  override down(): void {
    this.addSql("drop function model_names(text[])");
    this.addSql("drop table model_aliases");
    this.addSql(`alter table deployment_rings drop column device_target,
      alter column percent_basis_points type integer using ceil(percent_basis_points)`);
    this.addSql("drop index device_updates_waiting_tries");
  }
}
