import { Migration } from "@mikro-orm/migrations";

/** Approvals, further tries, rollbacks step by step, and ring counters by enrolment key. */
export class RolloutControl extends Migration {
  override up(): void {
    this.addSql(`alter table rollouts
      add column rollback_blocked bigint not null default '0',
      add column rollback_plan jsonb,
      add column alert text not null default ''`);
    this.addSql(`alter table deployment_rings
      add column approver text not null default '',
      add column approved_at timestamptz`);
    this.addSql(`alter table device_updates
      add column attempt integer not null default 1,
      add column not_before timestamptz,
      add column retry_at timestamptz,
      drop constraint device_updates_device_id_rollout_id_action_unique,
      add constraint device_updates_try_unique unique (device_id, rollout_id, action, firmware_id, attempt)`);
    this.addSql(`create table ring_key_counts (
      ring_id uuid not null,
      enrolment_key_id uuid not null,
      offered_count bigint not null default '0',
      succeeded_count bigint not null default '0',
      failed_count bigint not null default '0',
      primary key (ring_id, enrolment_key_id),
      constraint ring_key_counts_ring_id_foreign foreign key (ring_id) references deployment_rings (id)
    )`);
    this.addSql(
      "create index ring_key_counts_ring_id_offered_count_index on ring_key_counts (ring_id, offered_count)",
    );
    // What devices did before their keys were told apart.
    this.addSql(`insert into ring_key_counts (ring_id, enrolment_key_id, offered_count, succeeded_count, failed_count)
      select u.ring_id, d.enrolment_key_id, count(*),
        count(*) filter (where u.state = 'SUCCEEDED'), count(*) filter (where u.state in ('FAILED', 'TIMED_OUT'))
      from device_updates u join devices d on d.id = u.device_id
      where u.action = 'INSTALL' and d.enrolment_key_id is not null
      group by 1, 2`);
  }

  /** Of several tries of a device, and of several steps, the last one is kept: the older key holds no more. */
  override down(): void {
    this.addSql("drop table ring_key_counts");
    this.addSql(`delete from device_updates u using device_updates l
      where l.device_id = u.device_id and l.rollout_id = u.rollout_id and l.action = u.action and l.id > u.id`);
    this.addSql(`alter table device_updates
      drop constraint device_updates_try_unique,
      drop column attempt, drop column not_before, drop column retry_at,
      add constraint device_updates_device_id_rollout_id_action_unique unique (device_id, rollout_id, action)`);
    this.addSql("alter table deployment_rings drop column approver, drop column approved_at");
    this.addSql(
      "alter table rollouts drop column rollback_blocked, drop column rollback_plan, drop column alert",
    );
  }
}
