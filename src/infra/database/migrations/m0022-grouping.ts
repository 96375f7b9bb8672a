import { Migration } from "@mikro-orm/migrations";

/** By what errors are grouped, groups that operators made one, and their rules. */
export class Grouping extends Migration {
  override up(): void {
    this.addSql(
      "alter table error_groups add column grouped_by text not null default '', add column merged_into uuid",
    );
    this.addSql("create index error_groups_merged_into_index on error_groups (merged_into)");
    this.addSql(`create table grouping_rules (
      id uuid not null,
      title text not null,
      fingerprint text not null,
      code text not null,
      fault text not null,
      frame text not null,
      message text not null,
      created_by text not null,
      created_at timestamptz not null default now(),
      primary key (id)
    )`);
  }

  override down(): void {
    this.addSql("drop table grouping_rules");
    this.addSql("alter table error_groups drop column grouped_by, drop column merged_into");
  }
}
