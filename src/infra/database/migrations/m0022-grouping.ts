import { Migration } from "@mikro-orm/migrations";

/** By what errors are grouped, groups that operators made one, their rules, and symbol files. */
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
    this.addSql(`create table symbol_files (
      id uuid not null,
      build_id text not null,
      sha256 text not null,
      file_name text not null,
      size_bytes bigint not null,
      function_count bigint not null,
      object_sha256 text not null,
      created_by text not null,
      created_at timestamptz not null default now(),
      primary key (id),
      constraint symbol_files_sha256_unique unique (sha256)
    )`);
  }

  override down(): void {
    this.addSql("drop table symbol_files");
    this.addSql("drop table grouping_rules");
    this.addSql("alter table error_groups drop column grouped_by, drop column merged_into");
  }
}
