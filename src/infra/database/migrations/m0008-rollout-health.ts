import { Migration } from "@mikro-orm/migrations";

/** What the heartbeats of a rollout's devices say about its health. */
export class RolloutHealth extends Migration {
  override up(): void {
    this.addSql(`create table rollout_health (
      rollout_id uuid not null,
      signal text not null,
      sums jsonb not null,
      lowest_p double precision not null,
      updated_at timestamptz not null default now(),
      primary key (rollout_id, signal),
      constraint rollout_health_rollout_id_foreign foreign key (rollout_id) references rollouts (id)
    )`);
  }

  override down(): void {
    this.addSql("drop table rollout_health");
  }
}
