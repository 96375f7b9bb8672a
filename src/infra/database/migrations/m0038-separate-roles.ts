import { Migration } from "@mikro-orm/migrations";

/**
 * Functions by which a role that owns no table looks after the partitions of those that are split by time. They run with the
 * rights of their owner, and so touch nothing but such partitions, by their names, in the schema that they are in.
 */
export class SeparateRoles extends Migration {
  override up(): void {
    this.addSql(`create function time_partition_parent(parent text, partition text) returns regclass language plpgsql as $$
      declare found regclass;
      begin
        select c.oid into found from pg_class c
         where c.relname = parent and c.relkind = 'p' and c.relnamespace = current_schema()::regnamespace
           and partition ~ ('^' || parent || '_[0-9]{8}$');
        if found is null then
          raise exception '% is no partition by time of %', partition, parent using errcode = 'invalid_parameter_value';
        end if;
        return found;
      end $$`);
    // Attaching an empty table takes a weaker lock than CREATE ... PARTITION OF: writers do not stop for it. No CHECK is needed
    // to spare it a scan, there is nothing to scan. Indexes come with the attachment.
    this.addSql(`create function make_time_partition(parent text, partition text, from_time timestamptz, until_time timestamptz)
      returns void language plpgsql security definer as $$
      declare parent_table regclass := time_partition_parent(parent, partition);
      begin
        if to_regclass(format('%I.%I', current_schema(), partition)) is not null then return; end if;
        execute format('create table %I.%I (like %s including defaults including compression)',
          current_schema(), partition, parent_table);
        execute format('alter table %s attach partition %I.%I for values from (%L) to (%L)',
          parent_table, current_schema(), partition, from_time, until_time);
      end $$`);
    this.addSql(`create function drop_time_partition(parent text, partition text)
      returns void language plpgsql security definer as $$
      declare parent_table regclass := time_partition_parent(parent, partition);
      begin
        if exists (select from pg_inherits where inhparent = parent_table
                      and inhrelid = to_regclass(format('%I.%I', current_schema(), partition))) then
          execute format('drop table %I.%I', current_schema(), partition);
        end if;
      end $$`);
    this.addSql(`create function summarize_time_partition(parent text, partition text)
      returns void language plpgsql security definer as $$
      declare parent_table regclass := time_partition_parent(parent, partition);
      begin
        perform brin_summarize_new_values(i.indexrelid)
           from pg_inherits p join pg_index i on i.indrelid = p.inhrelid
           join pg_class c on c.oid = i.indexrelid join pg_am a on a.oid = c.relam
          where p.inhparent = parent_table and a.amname = 'brin'
            and p.inhrelid = to_regclass(format('%I.%I', current_schema(), partition));
      end $$`);
    // A caller's own temporary tables and schemas must not be taken for the service's.
    this.addSql(`do $$
      declare name text;
      begin
        foreach name in array array['time_partition_parent(text, text)',
          'make_time_partition(text, text, timestamptz, timestamptz)', 'drop_time_partition(text, text)',
          'summarize_time_partition(text, text)'] loop
          execute format('alter function %s set search_path = %I, pg_temp', name, current_schema());
          execute format('revoke all on function %s from public', name);
        end loop;
      end $$`);
  }

  override down(): void {
    this.addSql("drop function summarize_time_partition(text, text)");
    this.addSql("drop function drop_time_partition(text, text)");
    this.addSql("drop function make_time_partition(text, text, timestamptz, timestamptz)");
    this.addSql("drop function time_partition_parent(text, text)");
  }
}
