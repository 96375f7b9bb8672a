import { expect, it } from "vitest";
import { createTestDatabase, query } from "../support/postgres.ts";

it("knows of each column with a digest whether it names an object, which a backup has to have", async () => {
  await using database = await createTestDatabase();
  const rows = await query<{ name: string }>(
    database.url,
    `SELECT c.table_name || '.' || c.column_name AS name
       FROM information_schema.columns c
      WHERE c.table_schema = 'public' AND c.column_name LIKE '%sha256%'
      ORDER BY 1`,
  );
  // A new one that names an object belongs into the backup's statement (src/backup/backup.ts) too.
  expect(rows.map(({ name }) => name).toSorted()).toEqual([...objects, ...others].toSorted());
});

const objects = [
  "crash_logs.object_sha256",
  "firmware_attachments.sha256",
  "firmware_updates.sha256",
  "symbol_files.object_sha256",
];

/** Of contents before they are made an object of, of what a device says, and of certificates. */
const others = [
  "crash_logs.sha256",
  "device_heartbeats.image_sha256",
  "device_state.image_sha256",
  "devices.certificate_sha256",
  "symbol_files.sha256",
];
