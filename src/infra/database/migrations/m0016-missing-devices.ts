import { Migration } from "@mikro-orm/migrations";
import { counters as countersBefore } from "./m0012-rollout-counters.ts";
import { installRolloutCounters, type RolloutCounters, removeRolloutCounters } from "./rollout-counters.ts";

/**
 * Devices that began to install, and those of them that are not heard any more, which gates judge. Rings that were counted
 * before are counted again. And how many devices a ring holds, as of when that was last counted.
 */
export class MissingDevices extends Migration {
  override up(): void {
    for (const statement of removeRolloutCounters()) this.addSql(statement);
    this.addSql("alter table device_updates add column missing_since timestamptz");
    for (const table of ["deployment_rings", "ring_key_counts"]) {
      for (const name of added) {
        this.addSql(`alter table ${table} add column ${name}_count bigint not null default '0'`);
      }
    }
    this.addSql(`alter table deployment_rings add column device_count bigint, add column eligible_count bigint,
      add column awaited_count bigint, add column counted_at timestamptz`);
    for (const statement of installRolloutCounters(counters)) this.addSql(statement);
    this.addSql("select rollout_repair()");
  }

  override down(): void {
    for (const statement of removeRolloutCounters()) this.addSql(statement);
    for (const table of ["deployment_rings", "ring_key_counts"]) {
      for (const name of added) this.addSql(`alter table ${table} drop column ${name}_count`);
    }
    this.addSql("alter table device_updates drop column missing_since");
    this.addSql(`alter table deployment_rings drop column device_count, drop column eligible_count,
      drop column awaited_count, drop column counted_at`);
    for (const statement of installRolloutCounters(countersBefore)) this.addSql(statement);
  }
}

const added = ["began", "missing"];

/** What counts since this migration; a later one that goes back installs it again. */
export const counters: RolloutCounters = {
  ...countersBefore,
  ring: {
    ...countersBefore.ring,
    counters: {
      ...countersBefore.ring.counters,
      // What failed before it began counts as well: failures are a share of these.
      began:
        "ended_at is null and installing_at is not null or state in ('SUCCEEDED', 'FAILED', 'TIMED_OUT')",
      missing: "ended_at is null and missing_since is not null",
    },
  },
  byKey: [...countersBefore.byKey, ...added],
};
