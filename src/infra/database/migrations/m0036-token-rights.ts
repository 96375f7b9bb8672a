import { Migration } from "@mikro-orm/migrations";

/**
 * Whose each operator's token is, by which approvals tell people apart, and what it is limited to. Those that the service made at
 * its start belong to one person; of the others only the name is known.
 */
export class TokenRights extends Migration {
  override up(): void {
    this.addSql(`alter table operator_tokens add column owner text, add column products text[] not null default '{}',
      add column device_filter text not null default ''`);
    this.addSql(
      "update operator_tokens set owner = case creator when 'system:bootstrap' then 'administrator' else name end",
    );
    this.addSql("alter table operator_tokens alter column owner set not null");
  }

  override down(): void {
    this.addSql(
      "alter table operator_tokens drop column owner, drop column products, drop column device_filter",
    );
  }
}
