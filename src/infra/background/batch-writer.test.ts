import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { FakeClock } from "../../../test/support/fake-clock.ts";
import { createLogger } from "../logger.ts";
import { BatchWriter, type BatchWriterOptions } from "./batch-writer.ts";

interface Row {
  readonly key: string;
  readonly value: number;
}

const bad = new Error("bad row");
const away = new Error("away");

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

/** A writer, and the batches that came through. Negative values cannot be stored. */
function writerOf(options: Partial<BatchWriterOptions<Row>> = {}) {
  const written: (readonly Row[])[] = [];
  const database = { away: false, tries: 0 };
  const writer = new BatchWriter<Row>({
    name: "test",
    keyOf: ({ key }) => key,
    write: async (rows) => {
      database.tries++;
      if (database.away) throw away;
      if (rows.some(({ value }) => value < 0)) throw bad;
      written.push(rows);
    },
    maxRows: 3,
    lingerMs: 100,
    maxWaiting: 10,
    isBadRow: (error) => error === bad,
    onOutage: "keep",
    clock: new FakeClock(),
    logger: createLogger({ level: "silent", pretty: false }),
    ...options,
  });
  return { writer, written, database };
}

test("rows wait for company and are written in the order of their keys, some at a time", async () => {
  const { writer, written } = writerOf();
  for (const key of ["d", "b", "a", "c"]) writer.add({ key, value: 1 });
  await vi.advanceTimersByTimeAsync(99);
  expect(written).toEqual([]);
  await vi.advanceTimersByTimeAsync(1);
  expect(written.map((rows) => rows.map(({ key }) => key))).toEqual([["a", "b", "c"], ["d"]]);
  expect(writer.size).toBe(0);
  expect(writer.log.rows).toMatchObject({ waiting: 0, written: 4, refused: 0, lost: 0 });
});

test("the newer of two rows with the same key is written, or what merge makes of them", async () => {
  const { writer, written } = writerOf();
  writer.add({ key: "a", value: 1 });
  writer.add({ key: "a", value: 2 });
  expect(writer.unwritten("a")).toEqual({ key: "a", value: 2 });
  await writer.flush();
  const merging = writerOf({ merge: (newer, older) => ({ ...newer, value: newer.value + older.value }) });
  merging.writer.add({ key: "a", value: 1 });
  merging.writer.add({ key: "a", value: 2 });
  await merging.writer.flush();
  expect([written, merging.written]).toEqual([[[{ key: "a", value: 2 }]], [[{ key: "a", value: 3 }]]]);
});

test("what comes while a batch is written goes with the next one", async () => {
  const held = Promise.withResolvers<void>();
  const batches: (readonly Row[])[] = [];
  const { writer } = writerOf({
    write: async (rows) => {
      batches.push(rows);
      await held.promise;
    },
  });
  writer.add({ key: "a", value: 1 });
  await vi.advanceTimersByTimeAsync(100);
  expect(writer.unwritten("a")).toEqual({ key: "a", value: 1 });
  writer.add({ key: "a", value: 2 });
  expect(writer.unwritten("a")).toEqual({ key: "a", value: 2 });
  held.resolve();
  await vi.advanceTimersByTimeAsync(100);
  expect(batches).toEqual([[{ key: "a", value: 1 }], [{ key: "a", value: 2 }]]);
});

describe("a bad row", () => {
  test("is dropped alone and counted", async () => {
    const { writer, written } = writerOf({ maxRows: 10 });
    for (let value = -1; value < 7; value++) writer.add({ key: String(value), value });
    await writer.flush();
    expect(written.flat().map(({ value }) => value)).toEqual([0, 1, 2, 3, 4, 5, 6]);
    expect(writer.size).toBe(0);
    expect(writer.log).toMatchObject({ failed: 0, rows: { written: 7, refused: 1, lost: 0 } });
  });

  test("costs its neighbours nothing, whichever rows are bad", async () => {
    vi.useRealTimers();
    await fc.assert(
      fc.asyncProperty(fc.array(fc.boolean(), { maxLength: 40 }), async (isBad) => {
        const { writer, written } = writerOf({ maxRows: 7, maxWaiting: 40 });
        for (const [key, each] of isBad.entries()) writer.add({ key: String(key), value: each ? -1 : key });
        await writer.flush();
        const good = [...isBad.keys()].filter((key) => isBad[key] === false);
        expect(new Set(written.flat().map(({ key }) => Number(key)))).toEqual(new Set(good));
        expect(writer.log.rows).toMatchObject({ written: good.length, refused: isBad.length - good.length });
      }),
    );
  });
});

describe("while the database is away", () => {
  test("rows wait, the newest of each key, and are tried again", async () => {
    const { writer, written, database } = writerOf();
    database.away = true;
    writer.add({ key: "a", value: 1 });
    writer.add({ key: "b", value: 1 });
    await vi.advanceTimersByTimeAsync(100);
    writer.add({ key: "a", value: 2 });
    expect(writer.size).toBe(2);
    expect(writer.log).toMatchObject({ failed: 1, rows: { lost: 0 } });
    database.away = false;
    await vi.advanceTimersByTimeAsync(100);
    expect(written).toEqual([
      [
        { key: "a", value: 2 },
        { key: "b", value: 1 },
      ],
    ]);
  });

  test("no more wait than there is room for", async () => {
    const { writer, written, database } = writerOf({ maxWaiting: 2 });
    database.away = true;
    for (const key of ["a", "b", "c"]) writer.add({ key, value: 1 });
    writer.add({ key: "a", value: 2 });
    database.away = false;
    await writer.flush();
    expect(written.flat()).toEqual([
      { key: "a", value: 2 },
      { key: "b", value: 1 },
    ]);
    expect(writer.log.rows).toMatchObject({ written: 2, lost: 1 });
  });

  test("rows that come again by themselves are dropped and counted", async () => {
    const { writer, database } = writerOf({ onOutage: "drop", maxRows: 1 });
    database.away = true;
    writer.add({ key: "a", value: 1 });
    writer.add({ key: "b", value: 1 });
    await writer.flush();
    expect(database.tries).toBe(1);
    expect(writer.size).toBe(0);
    expect(writer.log).toMatchObject({ failed: 1, rows: { written: 0, lost: 2 } });
  });
});

test("closing writes what waits, once, and takes no more", async () => {
  const { writer, written, database } = writerOf();
  writer.add({ key: "a", value: 1 });
  await writer.close();
  await writer.close();
  writer.add({ key: "b", value: 1 });
  await vi.advanceTimersByTimeAsync(1_000);
  expect(written).toEqual([[{ key: "a", value: 1 }]]);
  const other = writerOf();
  other.database.away = true;
  other.writer.add({ key: "a", value: 1 });
  await other.writer.close();
  await vi.advanceTimersByTimeAsync(1_000);
  expect([database.tries, other.database.tries]).toEqual([1, 1]);
});
