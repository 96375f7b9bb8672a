import { randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import { expect, it } from "vitest";
import { FirmwareService } from "../../gen/ota/v1/firmware_service_pb.js";
import { systemClock } from "../../src/infra/clock.ts";
import { LocalObjectStore } from "../../src/infra/objects/local-object-store.ts";
import { newContent, publish } from "../support/door-clients.ts";
import { eventually } from "../support/eventually.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { runCli } from "../support/run-cli.ts";
import { startTestService } from "../support/service.ts";
import { metric } from "../support/streaming-device.ts";

const { deleteFirmware } = FirmwareService.method;
/** 3.6 s. */
const grace = { DEVICE_OTA_ORPHAN_GRACE_HOURS: "0.001" };

it("the content of deleted firmware is counted, and removed where that is wished; that of other firmware stays", async () => {
  await using database = await createTestDatabase();
  await using counting = await startTestService({ databaseUrl: database.url, settings: grace });
  const storeFolder = `${counting.dataDir}/storage/firmware`;
  await using store = new LocalObjectStore(storeFolder, systemClock);
  const [kept, gone] = [
    await publish(counting, newContent(1_000)),
    await publish(counting, newContent(1_000)),
  ];
  await counting.client().unary(deleteFirmware, { id: gone.id });
  await eventually(async () => expect(await metric(counting.httpUrl, "device_ota_orphaned_objects")).toBe(1));
  expect(await metric(counting.httpUrl, "device_ota_orphaned_object_bytes")).toBe(1_000);
  expect(await store.stat(gone.sha256)).toBeDefined();

  const orphans = (...args: string[]) =>
    runCli(["store", "orphans", ...args], {
      cwd: counting.dataDir,
      env: {
        ...grace,
        DEVICE_OTA_DATABASE_URL: database.url,
        DEVICE_OTA_STORAGE_BASE_PATH: storeFolder,
      },
    });
  const listed = await orphans();
  expect(listed).toMatchObject({ exitCode: 0, stdout: expect.stringContaining(gone.sha256) });
  expect(listed.stdout).not.toContain(kept.sha256);
  expect(await store.stat(gone.sha256)).toBeDefined();
  expect(await orphans("--delete")).toMatchObject({
    exitCode: 0,
    stderr: expect.stringContaining("Removed: 1"),
  });
  expect(await store.stat(gone.sha256)).toBeUndefined();

  // As with the database of another service: most of the store would go.
  const strange: string[] = [];
  for (let each = 0; each < 12; each++) {
    strange.push((await store.put(Readable.from([randomBytes(100)]), { maxBytes: 100 })).sha256);
  }
  // Only once the last of them is old enough: a few alone are no cause to refuse, and would go.
  await eventually(async () => {
    const { stdout } = await orphans();
    for (const sha256 of strange) expect(stdout).toContain(sha256);
  });
  expect(await orphans("--delete")).toMatchObject({
    exitCode: 5,
    stderr: expect.stringContaining("12 of 13 contents are named by nothing"),
  });

  await using removing = await startTestService({
    databaseUrl: database.url,
    settings: { ...grace, DEVICE_OTA_ORPHAN_DELETE: "true" },
  });
  const other = await publish(removing, newContent(1_000));
  await removing.client().unary(deleteFirmware, { id: other.id });
  await eventually(async () =>
    expect(await metric(removing.httpUrl, "device_ota_orphaned_objects_removed_total")).toBe(1),
  );
  await using others = new LocalObjectStore(`${removing.dataDir}/storage/firmware`, systemClock);
  expect(await others.stat(other.sha256)).toBeUndefined();
});
