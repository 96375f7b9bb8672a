import { Migration } from "@mikro-orm/migrations";

/**
 * Sessions of the console that were ended before their time; where the calls of audit events came from; and audit events that
 * cannot be changed or removed by whoever writes them.
 */
export class SignInAndAudit extends Migration {
  override up(): void {
    this.addSql(
      "create table ended_sessions (id uuid not null, expires_at timestamptz not null, primary key (id))",
    );
    this.addSql("create index ended_sessions_expires_at_index on ended_sessions (expires_at)");
    this.addSql("alter table audit_events add column address text, add column request_id text");
    this.addSql(`create function audit_events_append_only() returns trigger language plpgsql as $$
      begin
        raise exception 'audit_events is only added to: % is refused', lower(tg_op) using errcode = 'insufficient_privilege';
      end $$`);
    // Once a statement, before it looks for rows: it costs what only adds nothing.
    this.addSql(`create trigger audit_events_append_only before update or delete or truncate on audit_events
      for each statement execute function audit_events_append_only()`);
  }

  override down(): void {
    this.addSql("drop trigger audit_events_append_only on audit_events");
    this.addSql("drop function audit_events_append_only()");
    this.addSql("alter table audit_events drop column address, drop column request_id");
    this.addSql("drop table ended_sessions");
  }
}
