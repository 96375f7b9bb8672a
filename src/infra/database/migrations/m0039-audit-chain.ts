import { Migration } from "@mikro-orm/migrations";

/**
 * The hash chain over the audit log, and the events that wait for their link. Events are queued as they are inserted, in the same
 * transaction and without a lock; a round links those that are committed.
 */
export class AuditChain extends Migration {
  override up(): void {
    this.addSql(`create table audit_links (sequence bigint not null, event_id uuid not null, hash bytea not null,
      created_at timestamptz not null default now(), constraint audit_links_pkey primary key (sequence))`);
    this.addSql("create unique index audit_links_event_id_unique on audit_links (event_id)");
    this.addSql("create table unlinked_audit_events (event_id uuid not null, primary key (event_id))");
    this.addSql("insert into unlinked_audit_events (event_id) select id from audit_events");
    this.addSql(`create function audit_events_queue() returns trigger language plpgsql as $$
      begin
        insert into unlinked_audit_events (event_id) select id from added;
        return null;
      end $$`);
    this.addSql(`create trigger audit_events_queue after insert on audit_events referencing new table as added
      for each statement execute function audit_events_queue()`);
    this.addSql(`create function audit_links_append_only() returns trigger language plpgsql as $$
      begin
        raise exception 'audit_links is only added to: % is refused', lower(tg_op) using errcode = 'insufficient_privilege';
      end $$`);
    this.addSql(`create trigger audit_links_append_only before update or delete or truncate on audit_links
      for each statement execute function audit_links_append_only()`);
  }

  override down(): void {
    this.addSql("drop trigger audit_events_queue on audit_events");
    this.addSql("drop function audit_events_queue()");
    this.addSql("drop table unlinked_audit_events");
    this.addSql("drop table audit_links");
    this.addSql("drop function audit_links_append_only()");
  }
}
