import { Migration } from "@mikro-orm/migrations";

/**
 * Roll-ups in the order in which they are made. With the device first, each of a fleet's roll-ups went to a page of the key
 * that nothing else had touched for as long as a bucket is; with the bucket first, all go to its end. The key then also finds
 * a bucket, as the index by time did.
 */
export class RollupOrder extends Migration {
  override up(): void {
    for (const table of tables) {
      this.addSql(`alter table ${table} drop constraint ${table}_pkey`);
      this.addSql(`alter table ${table} add primary key (bucket, device_id)`);
      this.addSql(`drop index ${table}_bucket_index`);
      // A mean needs no more digits than its values have; NULL takes no room and stands for all heartbeats.
      this.addSql(`alter table ${table} ${reals.map((c) => `alter ${c}_sum type real`).join(", ")}`);
      this.addSql(
        `alter table ${table} ${all.map((c) => `alter ${c}_n drop default, alter ${c}_n drop not null`).join(", ")}`,
      );
    }
  }

  override down(): void {
    for (const table of tables) {
      this.addSql(`update ${table} set ${all.map((c) => `${c}_n = coalesce(${c}_n, count)`).join(", ")}`);
      this.addSql(
        `alter table ${table} ${all.map((c) => `alter ${c}_n set default 0, alter ${c}_n set not null`).join(", ")}`,
      );
      this.addSql(
        `alter table ${table} ${reals.map((c) => `alter ${c}_sum type double precision`).join(", ")}`,
      );
      this.addSql(
        `create index ${table}_bucket_index on ${table} using brin (bucket) with (pages_per_range = 64)`,
      );
      this.addSql(`alter table ${table} drop constraint ${table}_pkey`);
      this.addSql(`alter table ${table} add primary key (device_id, bucket)`);
    }
  }
}

const tables = ["heartbeat_rollups_5m", "heartbeat_rollups_1h"];
const reals = ["battery", "cpu", "memory", "signal", "temperature"];
const all = [...reals, "storage_free", "uptime"];
