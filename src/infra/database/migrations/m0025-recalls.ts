import { Migration } from "@mikro-orm/migrations";

/**
 * Versions that no device may run any more, by product, whether the catalogue has them or not. The rollout that leads devices away
 * from one names its recall.
 */
export class Recalls extends Migration {
  override up(): void {
    this.addSql(`create table recalls (
      id uuid not null,
      product text not null,
      component text not null,
      version text not null,
      identity text not null,
      replacement_id uuid not null,
      reason text not null,
      actor text not null,
      rollout_id uuid null,
      running_count bigint null,
      reinstated_at timestamptz null,
      created_at timestamptz not null default now(),
      updated_at timestamptz not null default now(),
      primary key (id),
      constraint recalls_replacement_id_foreign foreign key (replacement_id) references firmware_updates (id)
    )`);
    this.addSql(
      "create unique index recalls_in_force_unique on recalls (product, identity) where reinstated_at is null",
    );
    this.addSql(`alter table rollouts add column recall_id uuid null,
      add constraint rollouts_recall_id_foreign foreign key (recall_id) references recalls (id) on delete restrict`);
  }

  override down(): void {
    this.addSql("alter table rollouts drop column recall_id");
    this.addSql("drop table recalls");
  }
}
