import { Migration } from "@mikro-orm/migrations";

/** What devices' newest heartbeats show of their clocks. */
export class ClockVerdicts extends Migration {
  override up(): void {
    this.addSql("alter table device_state add column clock_offset_ms bigint, add column clock_verdict text");
  }

  override down(): void {
    this.addSql("alter table device_state drop column clock_offset_ms, drop column clock_verdict");
  }
}
