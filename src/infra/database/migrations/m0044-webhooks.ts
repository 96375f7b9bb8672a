import { Migration } from "@mikro-orm/migrations";

/** Receivers of events, and the deliveries to them: one for each event and webhook, made in the transaction that numbers the event. */
export class Webhooks extends Migration {
  override up(): void {
    this.addSql(`create table webhooks (
      id uuid not null,
      name text not null,
      url text not null,
      format text not null,
      secret bytea not null,
      event_types text[] not null default '{}',
      disabled boolean not null default false,
      creator text not null,
      created_at timestamptz not null default now(),
      primary key (id))`);
    this.addSql("alter table webhooks add constraint webhooks_name_unique unique (name)");
    this.addSql(`create table webhook_deliveries (
      webhook_id uuid not null,
      event_id uuid not null,
      state text not null default 'PENDING',
      attempt_count int not null default 0,
      outcome text not null default '',
      due_at timestamptz not null default now(),
      since timestamptz not null default now(),
      primary key (webhook_id, event_id))`);
    this.addSql(
      "create index webhook_deliveries_due_index on webhook_deliveries (webhook_id, due_at) where state = 'PENDING'",
    );
    this.addSql("create index webhook_deliveries_event_id_index on webhook_deliveries (event_id)");
    this.addSql(
      "alter table webhook_deliveries add constraint webhook_deliveries_webhook_id_foreign foreign key (webhook_id) references webhooks (id) on delete cascade",
    );
    this.addSql(
      "alter table webhook_deliveries add constraint webhook_deliveries_event_id_foreign foreign key (event_id) references fleet_events (id) on delete cascade",
    );
  }

  override down(): void {
    this.addSql("drop table webhook_deliveries");
    this.addSql("drop table webhooks");
  }
}
