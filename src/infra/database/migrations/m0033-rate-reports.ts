import { Migration } from "@mikro-orm/migrations";

/**
 * What replicas tell each other of the calls that they let through. Unlogged: nothing is written ahead, no standby has it, and a
 * crash of the database empties it, which costs the limits a minute's memory.
 */
export class RateReports extends Migration {
  override up(): void {
    this.addSql(`create unlogged table rate_reports (replica uuid not null, number int not null, calls jsonb not null,
      reported_at timestamptz not null default now(), primary key (replica, number))`);
  }

  override down(): void {
    this.addSql("drop table rate_reports");
  }
}
