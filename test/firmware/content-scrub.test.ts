import { createHash, randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from "vitest";
import { ContentScrub } from "../../src/firmware/content-scrub.ts";
import { createLogger } from "../../src/infra/logger.ts";
import { eventually } from "../support/eventually.ts";
import {
  type CatalogFixture,
  caller,
  content,
  createCatalogFixture,
  fields,
  openDatabase,
} from "./catalog-fixture.ts";

let opened: Awaited<ReturnType<typeof openDatabase>>;
let fixture: CatalogFixture;
let cleanup: AsyncDisposableStack;

beforeAll(async () => {
  opened = await openDatabase();
});

afterAll(() => opened[Symbol.asyncDispose]());

beforeEach(async () => {
  cleanup = new AsyncDisposableStack();
  fixture = cleanup.use(await createCatalogFixture(opened.database));
});

afterEach(() => cleanup.disposeAsync());

function createScrub(bytesPerSecond = Number.POSITIVE_INFINITY): ContentScrub {
  const scrub = new ContentScrub({
    pool: opened.database.pool,
    contents: fixture.contents,
    clock: fixture.clock,
    logger: createLogger({ level: "silent", pretty: false }),
    periodMs: 3_600_000,
    bytesPerSecond,
  });
  for (const round of scrub.rounds) cleanup.defer(() => round.close());
  return scrub;
}

/** Stored firmware of that content, which is not due to be read. */
async function store(version: string, bytes: Uint8Array): Promise<{ id: string; sha256: string }> {
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  await fixture.store.put(Readable.from([bytes]), { maxBytes: bytes.length });
  const { id } = await fixture.catalog.create(
    { ...fields, version, sha256, sizeBytes: bytes.length },
    caller,
  );
  await query("UPDATE firmware_updates SET check_due_at = now() + interval '1 day' WHERE id = $1", id);
  return { id, sha256 };
}

/** Past the catalogue. */
async function query(text: string, id: string): Promise<readonly Record<string, unknown>[]> {
  return (await opened.database.adminPool.query(text, [id])).rows as Record<string, unknown>[];
}

const makeDue = (id: string) => query("UPDATE firmware_updates SET check_due_at = now() WHERE id = $1", id);

const isDue = async (id: string): Promise<boolean> => {
  const rows = await query("SELECT check_due_at <= now() AS due FROM firmware_updates WHERE id = $1", id);
  return rows[0]?.["due"] === true;
};

const isMarked = async (id: string): Promise<boolean> =>
  (await fixture.catalog.get(id)).damagedAt !== undefined;

it("what a download finds damaged is told of while other content is being read", async () => {
  const other = await store("1.0.0", content);
  const found = await store("1.1.0", randomBytes(1_000));
  await makeDue(other.id);
  // At this rate it takes hours.
  const scrub = createScrub(1);
  const reading = scrub.rounds[0].run();
  await eventually(async () => expect(await isDue(other.id)).toBe(false));
  fixture.contents.noteDamaged(found.sha256, (await fixture.store.stat(found.sha256))?.etag);
  await eventually(async () => expect(await isMarked(found.id)).toBe(true));
  expect(scrub.damaged).toBe(1);
  await scrub.rounds[0].close();
  await reading;
});

it("what was found damaged and is right again before it was told of is not marked", async () => {
  const { id, sha256 } = await store("1.0.0", content);
  const [, reports] = createScrub().rounds;
  const { etag } = (await fixture.store.stat(sha256)) ?? {};
  fixture.contents.noteDamaged(sha256, etag);
  fixture.contents.noteSound(sha256, etag);
  await reports.run();
  expect(await isMarked(id)).toBe(false);
});

it("forgets the damage that another replica mended, which an etag of the content does not tell", async () => {
  const { id, sha256 } = await store("1.0.0", content);
  const [scrub, reports] = createScrub().rounds;
  const { etag } = (await fixture.store.stat(sha256)) ?? {};
  fixture.contents.noteDamaged(sha256, etag);
  await scrub.run();
  expect(fixture.contents.isDamaged(sha256, etag)).toBe(true);
  await reports.run();
  await scrub.run();
  expect(fixture.contents.isDamaged(sha256, etag)).toBe(true);

  // As an upload at another replica does.
  await query("UPDATE firmware_updates SET damaged_at = NULL WHERE id = $1", id);
  await scrub.run();
  expect(fixture.contents.isDamaged(sha256, etag)).toBe(false);
});

it("reads all that is due, one content after the other", async () => {
  const both = [await store("1.0.0", content), await store("1.1.0", randomBytes(1_000))];
  for (const { id } of both) await makeDue(id);
  await createScrub().rounds[0].run();
  await eventually(async () => {
    for (const { id } of both) expect(await isDue(id)).toBe(false);
  });
});
