import { Migration } from "@mikro-orm/migrations";

/** What is wrong with devices' heartbeats: a few rows of each device that has trouble, and none of the others. */
export class HeartbeatFaults extends Migration {
  override up(): void {
    this.addSql(`create table heartbeat_faults (
      device_id uuid not null,
      kind text not null,
      field text not null,
      count bigint not null default '0',
      sequence numeric(20,0) not null default '0',
      value text not null default '',
      description text not null default '',
      noticed_at timestamptz not null,
      primary key (device_id, kind, field)
    )`);
  }

  override down(): void {
    this.addSql("drop table heartbeat_faults");
  }
}
