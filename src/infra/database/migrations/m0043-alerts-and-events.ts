import { Migration } from "@mikro-orm/migrations";

/**
 * Alerts, what replicas see of themselves, and the feed of events. A change that is on the audit log and of interest to those who
 * follow the fleet becomes an event in the same transaction, and without a lock; a round gives those that are committed their number.
 */
export class AlertsAndEvents extends Migration {
  override up(): void {
    this.addSql(`create table fleet_events (
      id uuid not null,
      sequence bigint null,
      type text not null,
      resource_type text not null,
      resource_id text not null,
      summary text not null,
      details jsonb not null default '{}',
      occurred_at timestamptz not null default now(),
      primary key (id))`);
    this.addSql("create unique index fleet_events_sequence_unique on fleet_events (sequence)");
    this.addSql(
      "create index fleet_events_unnumbered_index on fleet_events (occurred_at, id) where sequence is null",
    );
    this.addSql(`create table alerts (
      id uuid not null,
      key text not null,
      rule text not null,
      severity text not null,
      resource_type text not null,
      resource_id text not null,
      summary text not null,
      fired_at timestamptz not null default now(),
      clear_since timestamptz null,
      resolved_at timestamptz null,
      acknowledged_at timestamptz null,
      acknowledger text not null default '',
      note text not null default '',
      primary key (id))`);
    this.addSql("create unique index alerts_firing_unique on alerts (key) where resolved_at is null");
    this.addSql("create index alerts_resource_id_index on alerts (resource_id, id)");
    this.addSql(
      "create index alerts_resolved_at_index on alerts (resolved_at) where resolved_at is not null",
    );
    this.addSql(`create table alert_signals (
      replica uuid not null,
      rule text not null,
      severity text not null,
      summary text not null,
      expires_at timestamptz not null,
      primary key (replica, rule))`);
    this.addSql(`create function audit_events_tell() returns trigger language plpgsql as $$
      begin
        insert into fleet_events (id, type, resource_type, resource_id, summary, details, occurred_at)
          select id, action, resource_type, resource_id, coalesce(reason, ''), details || jsonb_build_object('actor', actor), occurred_at
            from added
           where resource_type in ('rollout', 'firmware', 'recall', 'signing_key', 'error_group', 'alert')
              or action in ('device.suspect_clone', 'device.block', 'device.unblock', 'device.quarantine', 'device.approve', 'device.retire');
        return null;
      end $$`);
    this.addSql(`create trigger audit_events_tell after insert on audit_events referencing new table as added
      for each statement execute function audit_events_tell()`);
  }

  override down(): void {
    this.addSql("drop trigger audit_events_tell on audit_events");
    this.addSql("drop function audit_events_tell()");
    this.addSql("drop table alert_signals");
    this.addSql("drop table alerts");
    this.addSql("drop table fleet_events");
  }
}
