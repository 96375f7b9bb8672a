import { Migration } from "@mikro-orm/migrations";

/** When a webhook that is an e-mail may be sent the next one: what happens until then comes together. */
export class WebhookMails extends Migration {
  override up(): void {
    this.addSql("alter table webhooks add column mail_due_at timestamptz not null default now()");
  }

  override down(): void {
    this.addSql("alter table webhooks drop column mail_due_at");
  }
}
