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

/** Stored firmware of that content. */
async function store(version: string, bytes: Uint8Array): Promise<{ id: string; sha256: string }> {
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  await fixture.store.put(Readable.from([bytes]), { maxBytes: bytes.length });
  const { id } = await fixture.catalog.create(
    { ...fields, version, sha256, sizeBytes: bytes.length },
    caller,
  );
  return { id, sha256 };
}

const isMarked = async (id: string): Promise<boolean> =>
  (await fixture.catalog.get(id)).damagedAt !== undefined;

it("what a download finds damaged is told of while other content is being read", async () => {
  const other = await store("1.0.0", content);
  const found = await store("1.1.0", randomBytes(1_000));
  // The first content is due, and at this rate it takes hours.
  await opened.database.adminPool.query(
    "UPDATE firmware_updates SET check_due_at = CASE id WHEN $1 THEN now() ELSE now() + interval '1 day' END",
    [other.id],
  );
  const scrub = createScrub(1);
  const reading = scrub.rounds[0].run();
  await eventually(async () => {
    const { rows } = await opened.database.adminPool.query<{ due: boolean }>(
      "SELECT check_due_at <= now() AS due FROM firmware_updates WHERE id = $1",
      [other.id],
    );
    expect(rows).toEqual([{ due: false }]);
  });
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

it("reads all that is due, one content after the other", async () => {
  const ids = [(await store("1.0.0", content)).id, (await store("1.1.0", randomBytes(1_000))).id];
  const [scrub] = createScrub().rounds;
  await opened.database.adminPool.query("UPDATE firmware_updates SET check_due_at = now()");
  const due = async (): Promise<number> => {
    const { rows } = await opened.database.adminPool.query<{ count: number }>(
      "SELECT count(*)::int FROM firmware_updates WHERE check_due_at <= now() AND id = ANY($1)",
      [ids],
    );
    return rows[0]?.count ?? 0;
  };
  await scrub.run();
  await eventually(async () => expect(await due()).toBe(0));
});
