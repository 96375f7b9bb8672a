import { Migration } from "@mikro-orm/migrations";
import { counters as countersBefore } from "./m0017-drift.ts";
import { installRolloutCounters, type RolloutCounters, removeRolloutCounters } from "./rollout-counters.ts";

/**
 * What was known of a rollout and got lost: the share that a ring was asked for before it was widened, how many devices cannot
 * go back for want of a version, which had to be counted each time, and when the database's clock was set.
 */
export class KeptFacts extends Migration {
  override up(): void {
    for (const statement of removeRolloutCounters()) this.addSql(statement);
    this.addSql("alter table deployment_rings add column asked_basis_points double precision");
    this.addSql("alter table rollouts add column rollback_unreleased bigint not null default '0'");
    this.addSql(`create table clock_steps (
      id bigserial not null,
      stepped_from timestamptz not null,
      stepped_to timestamptz not null,
      primary key (id)
    )`);
    for (const statement of installRolloutCounters(counters)) this.addSql(statement);
    this.addSql("select rollout_repair()");
  }

  override down(): void {
    for (const statement of removeRolloutCounters()) this.addSql(statement);
    this.addSql("drop table clock_steps");
    this.addSql("alter table rollouts drop column rollback_unreleased");
    this.addSql("alter table deployment_rings drop column asked_basis_points");
    for (const statement of installRolloutCounters(countersBefore)) this.addSql(statement);
  }
}

const counters: RolloutCounters = {
  ...countersBefore,
  rollback: {
    ...countersBefore.rollback,
    counters: {
      ...countersBefore.rollback.counters,
      unreleased: "failure_reason = 'ROLLBACK_TARGET_MISSING' and to_version <> ''",
    },
  },
};
