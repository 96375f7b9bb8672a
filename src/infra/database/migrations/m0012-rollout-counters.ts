import { Migration } from "@mikro-orm/migrations";
import { installRolloutCounters, type RolloutCounters, removeRolloutCounters } from "./rollout-counters.ts";

/**
 * Counters of rollouts that follow the rows of `device_updates` by themselves. An update keeps the enrolment key that its
 * device had when it was offered: what a device of one key did is not held against another one when it enrols again.
 */
export class RolloutCounterTriggers extends Migration {
  override up(): void {
    this.addSql("alter table device_updates add column enrolment_key_id uuid");
    this.addSql(`update device_updates u set enrolment_key_id = d.enrolment_key_id
      from devices d where d.id = u.device_id and d.enrolment_key_id is not null`);
    for (const [column] of unchecked) {
      this.addSql(`alter table device_updates drop constraint device_updates_${column}_foreign`);
    }
    for (const statement of installRolloutCounters(counters)) this.addSql(statement);
    this.addSql("select rollout_repair()");
  }

  override down(): void {
    for (const statement of removeRolloutCounters()) this.addSql(statement);
    // What is there is not looked through: nothing has broken them, and the table is large.
    for (const [column, reference] of unchecked) {
      this.addSql(`alter table device_updates add constraint device_updates_${column}_foreign
        foreign key (${column}) references ${reference} not valid`);
    }
    this.addSql("alter table device_updates drop column enrolment_key_id");
  }
}

/**
 * References of the hot table that are not checked row by row any more, which took a fifth of an offer in PostgreSQL: the
 * statement that makes an offer has locked the rollout and read ring and firmware, further rows are made from such rows,
 * and nothing deletes what they refer to.
 */
const unchecked = [
  ["rollout_id", "rollouts (id)"],
  ["ring_id", "deployment_rings (id)"],
  ["from_firmware_id", "firmware_updates (id) on delete set null"],
] as const;

/** What counts since this migration; a later one that goes back installs it again. */
export const counters: RolloutCounters = {
  ring: {
    // Each device once: not a try that another one follows, nor a step that was taken on the way.
    counted: "action <> 'ROLLBACK' and retry_at is null and not (action = 'STEP' and state = 'SUCCEEDED')",
    counters: {
      offered: "true",
      in_progress: "ended_at is null",
      succeeded: "state = 'SUCCEEDED'",
      failed: "state in ('FAILED', 'TIMED_OUT')",
      cancelled: "state in ('CANCELLED', 'SUPERSEDED')",
      rolled_back: "state = 'ROLLED_BACK'",
    },
  },
  byKey: ["offered", "succeeded", "failed"],
  rollback: {
    counted: "action = 'ROLLBACK' and retry_at is null",
    counters: {
      total: "true",
      completed: "state = 'SUCCEEDED'",
      failed: "ended_at is not null and state <> 'SUCCEEDED'",
      // Devices that must not be taken back.
      blocked: "ended_at is not null and state <> 'SUCCEEDED' and failure_reason like 'ROLLBACK\\_%'",
    },
  },
};
