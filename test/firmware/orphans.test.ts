import { createHash, randomBytes, randomUUID } from "node:crypto";
import { mkdir, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from "vitest";
import { FirmwareAttachments } from "../../src/firmware/firmware-attachments.ts";
import { SignOff } from "../../src/firmware/sign-off.ts";
import {
  findOrphans,
  isSuspicious,
  type OrphanCount,
  removeOrphans,
  type SweepParts,
} from "../../src/orphans/orphan-sweep.ts";
import { eventually } from "../support/eventually.ts";
import {
  actor,
  type CatalogFixture,
  caller,
  content,
  createCatalogFixture,
  fields,
  openDatabase,
} from "./catalog-fixture.ts";

const day = 24 * 3_600_000;
const { signal } = caller;

let opened: Awaited<ReturnType<typeof openDatabase>>;
let fixture: CatalogFixture;

beforeAll(async () => {
  opened = await openDatabase();
});
afterAll(() => opened[Symbol.asyncDispose]());
beforeEach(async () => {
  fixture = await createCatalogFixture(opened.database);
});
afterEach(() => fixture[Symbol.asyncDispose]());

/** A sweep of the fixture's store; what is deleted waits for `beforeDelete`. */
function parts(beforeDelete: () => Promise<void> = async () => undefined): SweepParts {
  const { store, clock, database } = fixture;
  return {
    store: {
      list: (aborted) => store.list(aborted),
      delete: async (sha256) => {
        await beforeDelete();
        await store.delete(sha256);
      },
    },
    database: { session: database.pool, transact: (work) => database.pool.transact(work) },
    now: () => clock.now(),
    graceMs: 7 * day,
  };
}

/** Stores bytes as if that had been `days` ago. */
async function store(bytes: Buffer, days = 30): Promise<string> {
  const { sha256 } = await fixture.store.put(Readable.from([bytes]), { maxBytes: bytes.length });
  const at = new Date(fixture.clock.now().getTime() - days * day);
  await utimes(join(fixture.folder, "sha256", sha256.slice(0, 2), sha256), at, at);
  return sha256;
}

async function orphansNow(): Promise<string[]> {
  const { orphans } = await findOrphans(parts(), signal);
  return orphans.map(({ sha256 }) => sha256);
}

it("finds what nothing names and is old, and leaves all else alone, whoever put it there", async () => {
  const { catalog, clock, folder, database } = fixture;
  const old = await store(randomBytes(100));
  const young = await store(randomBytes(100), 6);
  const draft = randomBytes(100);
  const upload = await store(draft);
  await catalog.create({ ...fields, version: "2.0.0", sha256: upload, sizeBytes: 100 }, caller);
  const [log, symbols] = [await store(randomBytes(10)), await store(randomBytes(10))];
  await database.adminPool.query(
    `INSERT INTO crash_logs (id, device_id, sha256, size_bytes, object_sha256, created_at)
     VALUES ($1, $1, 'x', 1, $2, now())`,
    [randomUUID(), log],
  );
  await database.adminPool.query(
    `INSERT INTO symbol_files (id, build_id, sha256, file_name, size_bytes, function_count, object_sha256, created_by, created_at)
     VALUES ($1, 'b', $2, 'f', 1, 1, $2, 'operator:x', now())`,
    [randomUUID(), symbols],
  );
  await mkdir(join(folder, "sha256", "zz"), { recursive: true });
  for (const path of ["notes.txt", "sha256/zz/notes.txt", `sha256/${old.slice(0, 2)}/notes.txt`, "probe-1"])
    await writeFile(join(folder, path), "of others");

  const count = await findOrphans(parts(), signal);
  expect(count).toMatchObject({ contents: 5, strangers: 3, orphans: [{ sha256: old, sizeBytes: 100 }] });
  expect(await removeOrphans(parts(), count.orphans, signal)).toBe(1);
  expect(await fixture.store.stat(old)).toBeUndefined();
  for (const kept of [young, upload, log, symbols]) expect(await fixture.store.stat(kept)).toBeDefined();
  expect(await orphansNow()).toEqual([]);
  clock.advance(2 * day);
  expect(await orphansNow()).toEqual([young]);
});

it("keeps the content of deleted firmware for the grace period, and as long as a device is at it", async () => {
  const { catalog, clock, database } = fixture;
  const sha256 = await store(content);
  const { id } = await catalog.create(fields, caller);
  await catalog.softDelete(id, { actor });
  clock.advance(6 * day);
  expect(await orphansNow()).toEqual([]);
  clock.advance(2 * day);
  expect(await orphansNow()).toEqual([sha256]);
  const [device, rollout] = [randomUUID(), randomUUID()];
  await database.adminPool.query(
    `INSERT INTO devices (id, serial_number, device_type, hardware_model) VALUES ('${device}', 's', 't', 'm');
     INSERT INTO rollouts (id, name, firmware_id, state, targeting, policy, creator)
     VALUES ('${rollout}', 'r', '${id}', 'ABORTED', '{}', '{}', 'operator:test');
     INSERT INTO deployment_rings (id, rollout_id, position, name, percent_basis_points, state, gate)
     VALUES ('${rollout}', '${rollout}', 0, 'all', 10000, 'OPEN', '{}');
     INSERT INTO device_updates (id, rollout_id, ring_id, device_id, firmware_id, from_version, to_version, action, state, offered_at, deadline_at)
     VALUES (gen_random_uuid(), '${rollout}', '${rollout}', '${device}', '${id}', '1.3.0', '1.4.0', 'INSTALL', 'DOWNLOADING', now(), now())`,
  );
  expect(await orphansNow()).toEqual([]);
  await database.adminPool.query("TRUNCATE device_updates, rollouts, devices CASCADE");
});

it("does not remove what a firmware began to name since it was found", async () => {
  const sha256 = await store(content);
  const { orphans } = await findOrphans(parts(), signal);
  expect(orphans).toMatchObject([{ sha256 }]);
  expect((await fixture.catalog.create(fields, caller)).state).toBe("UPLOADED");
  expect(await removeOrphans(parts(), orphans, signal)).toBe(0);
  expect(await fixture.store.stat(sha256)).toBeDefined();
});

it("firmware that comes to name content in the moment of its removal asks for it", async () => {
  const { catalog, database } = fixture;
  await store(content);
  const { orphans } = await findOrphans(parts(), signal);
  let creating: ReturnType<typeof catalog.create> | undefined;
  const isThere = async () => {
    const { rows } = await database.adminPool.query("SELECT state FROM firmware_updates");
    expect(rows).toEqual([{ state: "UPLOADED" }]);
  };
  // It finds the content, and names it, while that is being removed.
  const removing = removeOrphans(
    parts(async () => {
      creating ??= catalog.create(fields, caller);
      await eventually(isThere);
    }),
    orphans,
    signal,
  );
  expect(await removing).toBe(1);
  const created = await creating;
  expect(created?.state).toBe("DRAFT");
  expect(await fixture.upload(created?.id ?? "")).toMatchObject({ state: "UPLOADED" });
});

it("a file beside firmware is stored again if its bytes are removed in the moment when it is named", async () => {
  const { audit, catalog, clock, database, keys } = fixture;
  const policy = { requireSignature: false, signatureThreshold: 1, acceptTestKeys: false };
  const signOff = new SignOff(keys, policy, clock);
  const attachments = new FirmwareAttachments({
    database,
    audit,
    store: fixture.store,
    signOff,
    maxBytes: 10_000,
  });
  const sbom = Buffer.from(JSON.stringify({ bomFormat: "CycloneDX", specVersion: "1.6" }));
  const sha256 = await store(sbom);
  const { id } = await catalog.create(fields, caller);
  const { orphans } = await findOrphans(parts(), signal);
  let attaching: ReturnType<typeof attachments.attach> | undefined;
  const removing = removeOrphans(
    parts(async () => {
      attaching ??= attachments.attach(id, "sbom.json", Readable.from([sbom]), caller);
      await eventually(async () => {
        const { rows } = await database.adminPool.query("SELECT sha256 FROM firmware_attachments");
        expect(rows).toEqual([{ sha256 }]);
      });
    }),
    orphans,
    signal,
  );
  expect(await removing).toBe(1);
  await attaching;
  expect(await fixture.store.stat(sha256)).toMatchObject({ sizeBytes: sbom.length });
});

it("finds it suspicious when most of a store is named by nothing", () => {
  const orphan = { sha256: createHash("sha256").digest("hex"), sizeBytes: 0, modifiedAt: new Date(0) };
  const count = (contents: number, orphans: number): OrphanCount => ({
    contents,
    strangers: 0,
    orphans: Array.from({ length: orphans }, () => orphan),
  });
  expect(isSuspicious(count(10, 10))).toBe(false);
  expect(isSuspicious(count(22, 11))).toBe(false);
  expect(isSuspicious(count(21, 11))).toBe(true);
});
