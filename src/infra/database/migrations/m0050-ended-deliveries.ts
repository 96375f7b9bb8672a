import { Migration } from "@mikro-orm/migrations";

/** Deliveries that ended, by when: the alert asks of each webhook whether the last one arrived. */
export class EndedDeliveries extends Migration {
  override up(): void {
    this.addSql(
      "create index webhook_deliveries_ended_index on webhook_deliveries (webhook_id, due_at) where state <> 'PENDING'",
    );
  }

  override down(): void {
    this.addSql("drop index webhook_deliveries_ended_index");
  }
}
