import { Migration } from "@mikro-orm/migrations";
import { counters as countersBefore } from "./m0016-missing-devices.ts";
import { installRolloutCounters, type RolloutCounters, removeRolloutCounters } from "./rollout-counters.ts";

/**
 * Devices that fall back by themselves, and those that come back after their rollback timed out: which devices run another
 * version than before, noted by triggers, and what became of it, counted.
 */
export class Drift extends Migration {
  override up(): void {
    for (const statement of removeRolloutCounters()) this.addSql(statement);
    for (const statement of up) this.addSql(statement);
    for (const statement of installRolloutCounters(counters)) this.addSql(statement);
    this.addSql("select rollout_repair()");
  }

  override down(): void {
    for (const statement of removeRolloutCounters()) this.addSql(statement);
    for (const statement of down) this.addSql(statement);
    for (const statement of installRolloutCounters(countersBefore)) this.addSql(statement);
  }
}

const up = [
  "alter table devices add column board_since timestamptz",
  `alter table device_updates add column drifted_at timestamptz, add column drifted_to text,
    add column heard_at timestamptz`,
  "alter table deployment_rings add column drifted_count bigint not null default '0'",
  "alter table ring_key_counts add column drifted_count bigint not null default '0'",
  "alter table rollouts add column rollback_away bigint not null default '0'",
  `create index device_updates_drifted_index on device_updates (rollout_id, id) where drifted_at is not null`,
  `create index device_updates_away_index on device_updates (rollout_id, id)
    where action = 'ROLLBACK' and state = 'TIMED_OUT' and retry_at is null and heard_at is null`,
  `create index device_updates_target_missing_index on device_updates (rollout_id, to_version)
    where failure_reason = 'ROLLBACK_TARGET_MISSING' and retry_at is null`,
  `create table device_version_changes (
    id bigserial not null,
    device_id uuid not null,
    primary key (id)
  )`,
  `create function device_note_version_changes() returns trigger language plpgsql as $$ begin
    insert into device_version_changes (device_id)
      select n.device_id from new_rows n join old_rows o using (device_id)
      where n.in_service
        and (n.firmware_version <> o.firmware_version or n.components is distinct from o.components);
    return null;
  end $$`,
  `create trigger device_note_version_changes after update on device_state
    referencing old table as old_rows new table as new_rows
    for each statement execute function device_note_version_changes()`,
];

const down = [
  "drop trigger device_note_version_changes on device_state",
  "drop index device_updates_target_missing_index",
  "drop function device_note_version_changes()",
  "drop table device_version_changes",
  "alter table rollouts drop column rollback_away",
  "alter table deployment_rings drop column drifted_count",
  "alter table ring_key_counts drop column drifted_count",
  `alter table device_updates drop column drifted_at, drop column drifted_to, drop column heard_at`,
  "alter table devices drop column board_since",
];

/** What counts since this migration; a later one that goes back installs it again. */
export const counters: RolloutCounters = {
  ...countersBefore,
  ring: {
    ...countersBefore.ring,
    counters: {
      ...countersBefore.ring.counters,
      drifted: "state = 'SUCCEEDED' and drifted_at is not null",
    },
  },
  byKey: [...countersBefore.byKey, "drifted"],
  rollback: {
    ...countersBefore.rollback,
    counters: {
      ...countersBefore.rollback.counters,
      away: "state = 'TIMED_OUT' and heard_at is null",
    },
  },
};
