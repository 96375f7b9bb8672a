import { Migration } from "@mikro-orm/migrations";

/** Since when an operator wants a device to exchange the token that it has. */
export class WantedTokenRotation extends Migration {
  override up(): void {
    this.addSql("alter table devices add column token_rotation_requested_at timestamptz");
  }

  override down(): void {
    this.addSql("alter table devices drop column token_rotation_requested_at");
  }
}
