import { Migration } from "@mikro-orm/migrations";

/** The product that a device runs, where it or an operator said so. A column with a constant default costs no rewrite. */
export class DeviceProducts extends Migration {
  override up(): void {
    this.addSql("alter table devices add column product text not null default ''");
  }

  override down(): void {
    this.addSql("alter table devices drop column product");
  }
}
