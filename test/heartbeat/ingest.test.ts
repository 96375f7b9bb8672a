import { describe, expect, test } from "vitest";
import { HeartbeatHistory, historyKey } from "../../src/heartbeat/heartbeat-history.ts";
import { StreamOpenings } from "../../src/heartbeat/stream-openings.ts";
import { systemClock } from "../../src/infra/clock.ts";
import { sessionOn } from "../../src/infra/database/session.ts";
import { eventually } from "../support/eventually.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { device, holdUp, record, records, send, startIngest, stored, stream } from "./heartbeat-fixture.ts";

describe("what is stored", () => {
  test("every reading comes back as it was sent", async () => {
    await using fixture = await startIngest();
    const id = device();
    const full = record(id, 7, {
      deviceTime: new Date("2026-03-01T12:00:00.123Z"),
      firmwareVersion: "1.2.3-ü漢😀",
      bootId: "b".repeat(64),
      uptimeMs: 2 ** 45,
      batteryPercent: 12.5,
      charging: false,
      cpuPercent: 0,
      memoryPercent: 100,
      storageFreeBytes: 2 ** 52,
      temperatureCelsius: -40.25,
      latitude: -33.856_784,
      longitude: 151.215_297,
      accuracyMeters: 4.5,
      altitudeMeters: -3.25,
      networkType: "CELLULAR",
      signalDbm: -120,
      carrier: "Télé 'quoted' \\ \t com",
      securityCounter: 9,
      imageSha256: new Uint8Array(32).fill(0xab),
      fixTime: new Date("2026-03-01T11:59:58.250Z"),
      errors: [
        {
          code: "SIGSEGV",
          severity: "CRITICAL",
          message: 'at "0x0"\n',
          stack: "a\nb",
          fatal: true,
          context: { thread: "main" },
          crashLogId: id,
        },
      ],
      components: { "sensor-app": "2.0.1" },
      metrics: { "queue/depth": 3.5, negative: -1e300 },
    });
    const bare = record(id, 8);
    await fixture.ingest.submit({
      deviceId: id,
      epoch: 1,
      records: [full, bare],
      signal: new AbortController().signal,
    });

    const history = await new HeartbeatHistory(sessionOn(fixture.pool), systemClock).list(
      { deviceId: id },
      { limit: 10 },
    );
    expect(history).toHaveLength(2);
    expect(history.find(({ sequence }) => sequence === 7)).toEqual({
      ...full,
      imageSha256: Buffer.from(full.imageSha256 as Uint8Array),
    });
    expect(history.find(({ sequence }) => sequence === 8)).toEqual({ ...bare, metrics: undefined });
  });

  test("a resend is acknowledged and not stored again", async () => {
    await using fixture = await startIngest();
    const id = device();
    expect(await send(fixture, id, [1, 2, 3])).toEqual({ ackedThrough: 3, rejected: [] });
    expect(await send(fixture, id, [2, 3, 4])).toEqual({ ackedThrough: 4, rejected: [] });
    expect(await send(fixture, id, [1])).toEqual({ ackedThrough: 4, rejected: [] });
    expect(await stored(fixture, id)).toEqual([1, 2, 3, 4]);
    expect(fixture.observed.map(({ sequence }) => sequence)).toEqual([1, 2, 3, 4]);
  });

  test("what a batch holds out of order or twice is stored once each", async () => {
    await using fixture = await startIngest();
    const id = device();
    expect(await send(fixture, id, [3, 1, 2, 3])).toEqual({ ackedThrough: 3, rejected: [] });
    expect(await stored(fixture, id)).toEqual([1, 2, 3]);
    expect(fixture.observed.map(({ sequence }) => sequence)).toEqual([1, 2, 3]);
  });

  test("a gap is not waited for", async () => {
    await using fixture = await startIngest();
    const id = device();
    await send(fixture, id, [1]);
    expect(await send(fixture, id, [10])).toEqual({ ackedThrough: 10, rejected: [] });
    expect(await stored(fixture, id)).toEqual([1, 10]);
  });

  test("a new epoch starts over, and the one before is closed for good", async () => {
    await using fixture = await startIngest();
    const id = device();
    await send(fixture, id, [1, 2, 3]);
    expect(await send(fixture, id, [1, 2], { epoch: 2 })).toEqual({ ackedThrough: 2, rejected: [] });
    await expect(send(fixture, id, [4])).rejects.toMatchObject({
      code: "failed_precondition",
      reason: "STALE_EPOCH",
      metadata: { epoch: "2" },
    });
    expect(await stored(fixture, id)).toEqual([1, 2, 3]);
    expect(await stored(fixture, id, 2)).toEqual([1, 2]);
  });

  test("heartbeats without a number get the next ones", async () => {
    await using fixture = await startIngest();
    const id = device();
    await send(fixture, id, [5]);
    expect(await send(fixture, id, [0, 0])).toEqual({ ackedThrough: 7, rejected: [] });
    expect(await send(fixture, id, [0])).toEqual({ ackedThrough: 8, rejected: [] });
    expect(await stored(fixture, id)).toEqual([5, 6, 7, 8]);
  });

  test("many devices, known and unknown, in one flush", async () => {
    await using fixture = await startIngest();
    const ids = Array.from({ length: 500 }, device);
    await Promise.all(ids.slice(0, 250).map((id) => send(fixture, id, [1, 2])));
    const results = await Promise.all(ids.map((id) => send(fixture, id, [2, 3])));
    expect(results.every(({ ackedThrough }) => ackedThrough === 3)).toBe(true);
    const { rows } = await fixture.pool.query(
      "SELECT count(*)::int AS all, count(DISTINCT (device_id, sequence))::int AS distinct FROM device_heartbeats",
    );
    expect(rows).toEqual([{ all: 1_250, distinct: 1_250 }]);
  });
});

describe("a row that the database refuses", () => {
  test("is refused alone, with its reason; all others are stored", async () => {
    await using fixture = await startIngest();
    const ids = Array.from({ length: 64 }, device);
    const [poisoned = ""] = ids.slice(40);
    const sent = ids.map((id) =>
      id === poisoned
        ? stream(fixture, {
            deviceId: id,
            records: [...records(id, [1, 2]), record(id, 3, { bootId: "a\0b" }), ...records(id, [4, 5])],
          })
        : stream(fixture, { deviceId: id, records: records(id, [1, 2, 3]) }),
    );
    const results = await Promise.all(sent.map(({ result }) => result));

    const [refused] = results.filter(({ rejected }) => rejected.length > 0);
    expect(refused).toEqual({
      ackedThrough: 5,
      rejected: [{ sequence: 3n, field: "", description: expect.stringContaining("invalid byte sequence") }],
    });
    expect(await stored(fixture, poisoned)).toEqual([1, 2, 4, 5]);
    const { rows } = await fixture.pool.query("SELECT count(*)::int AS count FROM device_heartbeats");
    expect(rows).toEqual([{ count: 63 * 3 + 4 }]);
  });

  test.each([
    [
      "NUL in a document",
      { errors: [{ code: "E", severity: "INFO" as const, message: "a\0b", stack: "", fatal: false }] },
    ],
    [
      "a lone surrogate in a document",
      {
        errors: [{ code: "E", severity: "INFO" as const, message: "\ud800", stack: "", fatal: false }],
      },
    ],
  ])("%s", async (_, more) => {
    await using fixture = await startIngest();
    const id = device();
    const result = await fixture.ingest.submit({
      deviceId: id,
      epoch: 1,
      records: [record(id, 1), record(id, 2, more), record(id, 3)],
      signal: new AbortController().signal,
    });
    expect(result).toMatchObject({ ackedThrough: 3, rejected: [{ sequence: 2n }] });
    expect(await stored(fixture, id)).toEqual([1, 3]);
  });

  test("a device id that is no UUID harms nobody else", async () => {
    await using fixture = await startIngest();
    const id = device();
    const bad = "'); DROP TABLE device_ingest; --";
    const hostile = stream(fixture, { deviceId: bad, records: records(bad, [1]) });
    const good = stream(fixture, { deviceId: id, records: records(id, [1]) });
    expect(await hostile.result).toMatchObject({ rejected: [{ sequence: 1n }] });
    expect(await good.result).toEqual({ ackedThrough: 1, rejected: [] });
  });
});

describe("streams", () => {
  test("what comes on a superseded stream is refused, also when another replica has the newer one", async () => {
    await using fixture = await startIngest();
    const id = device();
    const openings = new StreamOpenings(sessionOn(fixture.pool));
    const first = await openings.open(id, 1);
    await stream(fixture, { deviceId: id, records: records(id, [1]), generation: first.generation }).result;
    const second = await openings.open(id, 1);
    expect(second).toEqual({ epoch: 1, generation: first.generation + 1, durableSequence: 1 });

    const late = stream(fixture, { deviceId: id, records: records(id, [2]), generation: first.generation });
    await expect(late.result).rejects.toMatchObject({ code: "aborted", reason: "STREAM_SUPERSEDED" });
    await stream(fixture, { deviceId: id, records: records(id, [2]), generation: second.generation }).result;
    expect(await stored(fixture, id)).toEqual([1, 2]);
  });

  test("many openings at once get a generation each", async () => {
    await using fixture = await startIngest();
    const openings = new StreamOpenings(sessionOn(fixture.pool));
    const [one, ...others] = Array.from({ length: 2_000 }, device);
    const generations = await Promise.all([
      ...[1, 2, 3, 4].map(() => openings.open(one as string, 1)),
      ...others.map((id) => openings.open(id, 1)),
    ]);
    expect(generations.slice(0, 4).map(({ generation }) => generation)).toEqual([1, 2, 3, 4]);
    expect(generations.slice(4).every(({ generation }) => generation === 1)).toBe(true);
  });

  test("an opening with an old epoch is refused and leaves the living stream alone", async () => {
    await using fixture = await startIngest();
    const id = device();
    const openings = new StreamOpenings(sessionOn(fixture.pool));
    const living = await openings.open(id, 3);
    await expect(openings.open(id, 2)).rejects.toMatchObject({ reason: "STALE_EPOCH" });
    const sent = stream(fixture, {
      deviceId: id,
      epoch: 3,
      records: records(id, [1], { epoch: 3 }),
      generation: living.generation,
    });
    expect(await sent.result).toEqual({ ackedThrough: 1, rejected: [] });
  });

  test("a device's batches are committed in the order in which they came", async () => {
    await using fixture = await startIngest({ limits: { flushRows: 3 } });
    const id = device();
    const sent = Array.from({ length: 40 }, (_, index) =>
      stream(fixture, { deviceId: id, records: records(id, [index * 2 + 1, index * 2 + 2]) }),
    );
    await Promise.all(sent.map(({ result }) => result));
    expect(await stored(fixture, id)).toEqual(Array.from({ length: 80 }, (_, index) => index + 1));
  });
});

describe("the queue", () => {
  test("holds streams back when it is full and lets them in later", async () => {
    await using fixture = await startIngest({ limits: { maxRows: 10 } });
    await using hold = await holdUp(fixture.url);
    const id = device();
    const first = stream(fixture, { deviceId: id, records: records(id, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]) });
    await first.taken;
    let isTaken = false;
    const second = stream(fixture, { deviceId: id, records: records(id, [11]) });
    const taken = second.taken.then(() => {
      isTaken = true;
    });
    const third = stream(fixture, { deviceId: id, records: records(id, [12]) });
    await expect(send(fixture, id, [13])).rejects.toMatchObject({
      code: "resource_exhausted",
      reason: "QUEUE_FULL",
      retryAfterMs: expect.any(Number),
    });
    expect(isTaken).toBe(false);
    expect(fixture.ingest.rows).toBe(10);

    await hold.release();
    await taken;
    expect(await third.result).toEqual({ ackedThrough: 12, rejected: [] });
    expect(await stored(fixture, id)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
  });

  test("is bounded in bytes too", async () => {
    await using fixture = await startIngest({ limits: { maxBytes: 10_000 } });
    await using hold = await holdUp(fixture.url);
    const id = device();
    const errors = [
      { code: "E", severity: "INFO", message: "", stack: "x".repeat(6_000), fatal: false } as const,
    ];
    void stream(fixture, { deviceId: id, records: [record(id, 1, { errors })] });
    await expect(send(fixture, id, [2])).rejects.toMatchObject({ reason: "QUEUE_FULL" });
    await hold.release();
  });

  test("forgets a stream that went away while it waited", async () => {
    await using fixture = await startIngest({ limits: { maxRows: 1 } });
    await using hold = await holdUp(fixture.url);
    const id = device();
    const first = stream(fixture, { deviceId: id, records: records(id, [1]) });
    const gone = new AbortController();
    const second = stream(fixture, { deviceId: id, records: records(id, [2]) }, gone.signal);
    gone.abort(new Error("gone"));
    await expect(second.taken).rejects.toThrow("gone");
    await hold.release();
    await first.result;
    expect(await stored(fixture, id)).toEqual([1]);
  });

  test("closing writes what is held and takes no more", async () => {
    await using fixture = await startIngest();
    const id = device();
    const sent = Array.from({ length: 20 }, (_, index) =>
      stream(fixture, { deviceId: id, records: records(id, [index + 1]) }),
    );
    await fixture.ingest.close();
    for (const { result } of sent) await result;
    expect(await stored(fixture, id)).toHaveLength(20);
    await expect(send(fixture, id, [21])).rejects.toMatchObject({ reason: "SHUTTING_DOWN" });
    expect(fixture.ingest.rows).toBe(0);
  });
});

describe("partitions", () => {
  test("one that is missing is made on the way", async () => {
    await using fixture = await startIngest({ withoutPartitions: true });
    const id = device();
    const results = await Promise.all([
      send(fixture, id, [1], { receivedAt: new Date("2031-05-05T23:59:59.999Z") }),
      send(fixture, id, [2], { receivedAt: new Date("2031-05-06T00:00:00Z") }),
    ]);
    expect(results.map(({ rejected }) => rejected)).toEqual([[], []]);
    expect(await stored(fixture, id)).toEqual([1, 2]);
    expect(await fixture.partitions.days()).toEqual([new Date("2031-05-05"), new Date("2031-05-06")]);
  });

  test("are made ahead and dropped after the retention", async () => {
    const clock = new FakeClock("2026-06-10T15:00:00Z");
    await using fixture = await startIngest({ clock });
    expect(await fixture.partitions.days()).toHaveLength(8);
    const id = device();
    await send(fixture, id, [1], { receivedAt: clock.now() });
    clock.advance(30 * 86_400_000);
    await fixture.partitions.maintain();
    expect((await fixture.partitions.days())[0]).toEqual(new Date("2026-06-10"));
    expect(await stored(fixture, id)).toEqual([1]);
    clock.advance(86_400_000);
    await fixture.partitions.maintain();
    expect((await fixture.partitions.days())[0]).toEqual(new Date("2026-06-11"));
    expect(await stored(fixture, id)).toEqual([]);
  });

  test("two replicas make them at once", async () => {
    await using fixture = await startIngest({ withoutPartitions: true });
    await Promise.all([
      fixture.partitions.maintain(),
      fixture.partitions.maintain(),
      fixture.partitions.maintain(),
    ]);
    expect(await fixture.partitions.days()).toHaveLength(8);
  });

  test("one that is in use is dropped in a later round", async () => {
    const clock = new FakeClock("2026-06-10T15:00:00Z");
    await using fixture = await startIngest({ clock });
    clock.advance(31 * 86_400_000);
    const reader = await fixture.pool.connect();
    await reader.query("BEGIN; SELECT count(*) FROM device_heartbeats_20260610");
    await fixture.partitions.maintain();
    expect((await fixture.partitions.days())[0]).toEqual(new Date("2026-06-10"));
    await reader.query("COMMIT");
    reader.release();
    // The next one, or one after: the database may look after the partition by itself at this moment.
    await eventually(async () => {
      await fixture.partitions.maintain();
      expect((await fixture.partitions.days())[0]).not.toEqual(new Date("2026-06-10"));
    });
  });
});

describe("history", () => {
  test("pages newest first, within a range of times", async () => {
    await using fixture = await startIngest();
    const history = new HeartbeatHistory(sessionOn(fixture.pool), systemClock);
    const id = device();
    await fixture.partitions.ensure(new Date("2026-06-09"));
    await fixture.partitions.ensure(new Date("2026-06-10"));
    const midnight = Date.UTC(2026, 5, 10);
    const sent = Array.from({ length: 10 }, (_, index) =>
      // Pairs share their time of receipt, and the middle is midnight.
      record(id, index + 1, { receivedAt: new Date(midnight + (Math.floor(index / 2) - 2) * 1_000) }),
    );
    await fixture.ingest.submit({
      deviceId: id,
      epoch: 1,
      records: sent,
      signal: new AbortController().signal,
    });
    await send(fixture, device(), [1]);

    const pages: number[][] = [];
    let after: string | undefined;
    for (;;) {
      const page = await history.list({ deviceId: id }, { limit: 3, after });
      if (page.length === 0) break;
      pages.push(page.map(({ sequence }) => sequence));
      after = historyKey(page.at(-1) as (typeof page)[0]);
    }
    expect(pages).toEqual([[10, 9, 8], [7, 6, 5], [4, 3, 2], [1]]);

    const range = { deviceId: id, from: new Date(midnight - 1_000), to: new Date(midnight + 1_000) };
    const inRange = await history.list(range, { limit: 10 });
    expect(inRange.map(({ sequence }) => sequence)).toEqual([6, 5, 4, 3]);
  });

  test("of a device that was silent for days goes on where it was heard before", async () => {
    await using fixture = await startIngest();
    const history = new HeartbeatHistory(sessionOn(fixture.pool), systemClock);
    const id = device();
    const days = ["2026-06-01", "2026-06-05", "2026-06-09"].map((day) => new Date(`${day}T12:00:00Z`));
    for (const day of days) await fixture.partitions.ensure(day);
    const records = days.map((receivedAt, index) => record(id, index + 1, { receivedAt }));
    await fixture.ingest.submit({ deviceId: id, epoch: 1, records, signal: new AbortController().signal });
    const list = async (range: object, limit: number) =>
      (await history.list({ deviceId: id, ...range }, { limit })).map(({ sequence }) => sequence);
    expect(await list({}, 3)).toEqual([3, 2, 1]);
    expect(await list({ to: new Date("2026-06-09T12:00:01Z") }, 2)).toEqual([3, 2]);
    expect(await list({ to: new Date("2026-06-09T12:00:01Z") }, 1)).toEqual([3]);
    expect(await list({ from: days[1], to: days[2] }, 3)).toEqual([2]);
    const [newest] = await history.list({ deviceId: id }, { limit: 1 });
    const after = historyKey(newest as NonNullable<typeof newest>);
    expect((await history.list({ deviceId: id }, { limit: 5, after })).map((row) => row.sequence)).toEqual([
      2, 1,
    ]);
  });
});

describe("metrics", () => {
  test("say what was written, dropped and refused", async () => {
    await using fixture = await startIngest();
    const id = device();
    await send(fixture, id, [1, 2]);
    await send(fixture, id, [2, 3]);
    await fixture.ingest.submit({
      deviceId: id,
      epoch: 1,
      records: [record(id, 4, { carrier: "\0" })],
      signal: new AbortController().signal,
    });
    const text = await eventually(() => fixture.metrics.text());
    expect(text).toContain("device_ota_ingest_rows_written_total 3");
    expect(text).toContain("device_ota_ingest_rows_duplicate_total 1");
    expect(text).toContain("device_ota_ingest_rows_rejected_total 1");
    expect(text).toContain("device_ota_ingest_queue_rows 0");
  });
});
