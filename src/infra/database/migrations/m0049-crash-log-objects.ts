import { Migration } from "@mikro-orm/migrations";

/** Crash logs by their object: whether a content of the object store is still named is asked for each that could go. */
export class CrashLogObjects extends Migration {
  override up(): void {
    this.addSql("create index crash_logs_object_sha256_index on crash_logs (object_sha256)");
  }

  override down(): void {
    this.addSql("drop index crash_logs_object_sha256_index");
  }
}
