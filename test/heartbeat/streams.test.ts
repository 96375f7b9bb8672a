import { describe, expect, test } from "vitest";
import { OtaError } from "../../src/errors.ts";
import { eventually } from "../support/eventually.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { device, holdUp, stored } from "./heartbeat-fixture.ts";
import { startStreams } from "./stream-fixture.ts";

describe("a stream", () => {
  test("is welcomed, acknowledged and ends well after goodbye", async () => {
    await using fixture = await startStreams();
    const stream = fixture.connect(device());
    stream.hello({ lastSequence: 2n });
    expect(await stream.next()).toMatchObject({
      case: "welcome",
      value: {
        durableSequence: 0n,
        epoch: 1,
        streamGeneration: 1n,
        heartbeatInterval: { seconds: 30n },
        heartbeatJitter: { seconds: 3n },
        maxBatchSize: 1_000,
      },
    });
    stream.beat(1, 2);
    stream.beat(3);
    await stream.ackOf(3);
    stream.goodbye();
    expect(await stream.next()).toBeUndefined();
    expect(await stored(fixture, stream.deviceId)).toEqual([1, 2, 3]);
    expect(fixture.streams.size).toBe(0);
    expect(fixture.hellos).toMatchObject([
      { deviceId: stream.deviceId, firmwareVersion: "1.0.0", lastSequence: 2 },
    ]);
  });

  test("acknowledges what was on its way when the device half-closes", async () => {
    await using fixture = await startStreams();
    const stream = fixture.connect(device());
    await stream.open();
    for (let sequence = 1; sequence <= 50; sequence++) stream.beat(sequence);
    stream.end();
    await stream.ackOf(50);
    expect(await stream.next()).toBeUndefined();
  });

  test("tells a device that returns what is durable", async () => {
    await using fixture = await startStreams();
    const id = device();
    const first = fixture.connect(id);
    await first.open();
    first.beat(1, 2, 3);
    await first.ackOf(3);
    first.cut();
    await expect(first.next()).rejects.toThrow("cut");
    expect(fixture.streams.size).toBe(0);
    const second = fixture.connect(id);
    expect(await second.open()).toBe(3n);
  });

  test("must begin with hello, and say it once", async () => {
    await using fixture = await startStreams();
    const silent = fixture.connect(device());
    silent.beat(1);
    await expect(silent.next()).rejects.toMatchObject({
      code: "failed_precondition",
      reason: "HELLO_REQUIRED",
    });
    const empty = fixture.connect(device());
    empty.end();
    await expect(empty.next()).rejects.toMatchObject({ reason: "HELLO_REQUIRED" });
    const twice = fixture.connect(device());
    await twice.open();
    twice.hello();
    await expect(twice.next()).rejects.toMatchObject({ code: "invalid_argument" });
    expect(fixture.streams.size).toBe(0);
  });

  test("says in the ack what it left out and what it refused, and goes on", async () => {
    await using fixture = await startStreams();
    const stream = fixture.connect(device());
    await stream.open();
    stream.beat(
      1,
      { sequence: 2n, batteryPercent: Number.NaN },
      { sequence: 3n, location: { latitude: 200, longitude: 0 } },
      { sequence: 2n ** 60n },
      4,
    );
    stream.beat({ sequence: 5n, deviceTime: { seconds: 0n, nanos: 0 } });
    stream.beat(6);
    const { rejected, leftOut } = await stream.ackOf(6);
    expect(rejected.map(({ sequence, field }) => [sequence, field])).toEqual([[2n ** 60n, "sequence"]]);
    expect(leftOut.map(({ sequence, field }) => [sequence, field])).toEqual([
      [2n, "battery_percent"],
      [3n, "location.latitude"],
      [5n, "device_time"],
    ]);
    expect(await stored(fixture, stream.deviceId)).toEqual([1, 2, 3, 4, 5, 6]);
  });

  test("acknowledges refused heartbeats only behind what came before them", async () => {
    await using fixture = await startStreams();
    const stream = fixture.connect(device());
    await stream.open();
    await using hold = await holdUp(fixture.url);
    stream.beat(1);
    stream.beat({ sequence: 2n, bootId: "\0" });
    const ack = stream.ackOf(1);
    let isAcked = false;
    void ack.then(() => {
      isAcked = true;
    });
    await eventually(() => expect(stream.unread).toBe(0));
    expect(isAcked).toBe(false);
    await hold.release();
    await ack;
    expect(await stored(fixture, stream.deviceId)).toEqual([1]);
  });

  test("marks as history what the device had counted past", async () => {
    await using fixture = await startStreams();
    const stream = fixture.connect(device());
    await stream.open({ lastSequence: 5n });
    stream.beat(1, 2);
    stream.beat(3, 4, 5);
    stream.beat(6);
    await stream.ackOf(6);
    const history = fixture.observed
      .filter(({ backlog }) => backlog === true)
      .map(({ sequence }) => sequence);
    expect(history).toEqual([1, 2, 3, 4]);
  });

  test("gives heartbeats what hello said of the firmware", async () => {
    await using fixture = await startStreams();
    const stream = fixture.connect(device());
    await stream.open({ firmwareVersion: "3.1.0", bootId: "b" });
    stream.beat(1, { sequence: 2n, firmwareVersion: "3.2.0", bootId: "c" });
    await stream.ackOf(2);
    expect(fixture.observed).toMatchObject([
      { firmwareVersion: "3.1.0", bootId: "b" },
      { firmwareVersion: "3.2.0", bootId: "c" },
    ]);
  });

  test("is not read on while the queue is full", async () => {
    await using fixture = await startStreams({ limits: { maxRows: 4 } });
    const stream = fixture.connect(device());
    await stream.open();
    await using hold = await holdUp(fixture.url);
    for (let sequence = 1; sequence <= 20; sequence++) stream.beat(sequence);
    await eventually(() => expect(fixture.ingest.rows).toBe(4));
    // Four are in, the fifth waits for room.
    await eventually(() => expect(stream.unread).toBe(15));
    await hold.release();
    await stream.ackOf(20);
    expect(await stored(fixture, stream.deviceId)).toHaveLength(20);
  });

  test("is not read on while too much of it is unsettled, and may be cut then", async () => {
    await using fixture = await startStreams();
    const stream = fixture.connect(device());
    await stream.open();
    await using hold = await holdUp(fixture.url);
    for (let sequence = 1; sequence <= 300; sequence++) stream.beat(sequence);
    await eventually(() => expect(stream.unread).toBe(300 - 256));
    stream.cut();
    await expect(stream.next()).rejects.toThrow("cut");
    expect(fixture.streams.size).toBe(0);
    await hold.release();
  });
});

describe("one stream a device", () => {
  test("the newest wins, and the older one ends with ABORTED", async () => {
    await using fixture = await startStreams();
    const id = device();
    const [older, newer] = [fixture.connect(id), fixture.connect(id)];
    await older.open();
    const ended = older.next();
    await newer.open();
    await expect(ended).rejects.toMatchObject({ code: "aborted", reason: "STREAM_SUPERSEDED" });
    newer.beat(1);
    await newer.ackOf(1);
    expect(fixture.streams.size).toBe(1);
  });

  test("also when both say hello at once", async () => {
    await using fixture = await startStreams();
    const id = device();
    const both = [fixture.connect(id), fixture.connect(id)];
    await Promise.all(both.map((stream) => stream.open()));
    expect(fixture.streams.size).toBe(1);
    await expect(Promise.race(both.map((stream) => stream.next()))).rejects.toMatchObject({
      reason: "STREAM_SUPERSEDED",
    });
    expect(fixture.streams.size).toBe(1);
  });

  test("a stream that another replica superseded ends with its next heartbeat", async () => {
    await using fixture = await startStreams();
    const id = device();
    const stream = fixture.connect(id);
    await stream.open();
    await fixture.pool.query("UPDATE device_ingest SET stream_generation = stream_generation + 1");
    stream.beat(1);
    await expect(stream.next()).rejects.toMatchObject({ reason: "STREAM_SUPERSEDED" });
    expect(await stored(fixture, id)).toEqual([]);
  });

  test("a stale epoch is refused at hello", async () => {
    await using fixture = await startStreams();
    const id = device();
    await fixture.connect(id).open({ epoch: 2 });
    const stale = fixture.connect(id);
    stale.hello({ epoch: 1 });
    await expect(stale.next()).rejects.toMatchObject({ code: "failed_precondition", reason: "STALE_EPOCH" });
    expect(fixture.streams.size).toBe(1);
  });

  test("there is room for so many streams, but always for a device that returns", async () => {
    await using fixture = await startStreams({ maxStreams: 2 });
    const [one, two] = [device(), device()];
    await fixture.connect(one).open();
    await fixture.connect(two).open();
    const third = fixture.connect(device());
    third.hello();
    await expect(third.next()).rejects.toMatchObject({
      code: "resource_exhausted",
      reason: "TOO_MANY_STREAMS",
    });
    await fixture.connect(two).open();
    expect(fixture.streams.size).toBe(2);
  });
});

describe("directives", () => {
  test("reach a device at once, each with an id of its own", async () => {
    await using fixture = await startStreams();
    const id = device();
    expect(fixture.streams.updateAvailable(id, "rollout")).toBe(false);
    const stream = fixture.connect(id);
    await stream.open();
    const first = stream.next();
    expect(fixture.streams.updateAvailable(id, "rollout")).toBe(true);
    expect(await first).toMatchObject({
      case: "directive",
      value: { id: expect.stringMatching(/^[0-9a-f-]{36}$/), action: { value: { rolloutId: "rollout" } } },
    });
    fixture.streams.cancelUpdate(id, "update", "stop");
    expect(await stream.next()).toMatchObject({
      value: { action: { case: "cancelUpdate", value: { updateId: "update", reason: "stop" } } },
    });
    expect([...fixture.streams.connectedDevices()]).toEqual([id]);
  });

  test("a device can be disconnected with a reason", async () => {
    await using fixture = await startStreams();
    const stream = fixture.connect(device());
    await stream.open();
    fixture.streams.disconnect(
      stream.deviceId,
      new OtaError("unauthenticated", "CREDENTIAL_REVOKED", "the credential was revoked"),
    );
    await expect(stream.next()).rejects.toMatchObject({ reason: "CREDENTIAL_REVOKED" });
    expect(fixture.streams.size).toBe(0);
  });

  test("a device over its limit is asked to slow down, and cut off if it does not listen", async () => {
    const clock = new FakeClock(new Date());
    let isOver = true;
    await using fixture = await startStreams({
      clock,
      consumeRate: () => (isOver ? { ok: false, retryAfterMs: 600 } : { ok: true }),
    });
    const stream = fixture.connect(device());
    await stream.open();
    stream.beat(1);
    expect(await stream.next()).toMatchObject({
      case: "directive",
      value: { action: { case: "slowDown", value: { minInterval: { seconds: 30n } } } },
    });
    // What came is stored all the same.
    await stream.ackOf(1);
    clock.advance(59_000);
    stream.beat(2);
    await stream.ackOf(2);
    // A device that behaved for a minute is asked anew.
    clock.advance(61_000);
    stream.beat(3);
    expect(await stream.next()).toMatchObject({ case: "directive" });
    await stream.ackOf(3);
    isOver = false;
    clock.advance(30_000);
    stream.beat(4);
    await stream.ackOf(4);
    isOver = true;
    clock.advance(20_000);
    stream.beat(5);
    await stream.ackOf(5);
    clock.advance(20_000);
    stream.beat(6);
    await expect(stream.next()).rejects.toMatchObject({
      code: "resource_exhausted",
      reason: "RATE_LIMITED",
      retryAfterMs: 60_000,
    });
  });
});

describe("draining", () => {
  test("tells every device when to return, acknowledges what it took and ends well", async () => {
    await using fixture = await startStreams();
    const streams = Array.from({ length: 30 }, () => fixture.connect(device()));
    await Promise.all(streams.map((stream) => stream.open()));
    for (const stream of streams) stream.beat(1);
    await eventually(() => expect(streams.every(({ unread }) => unread === 0)).toBe(true));
    const drained = fixture.streams.drain({
      ratePerSecond: 200,
      reconnectWithinMs: 10_000,
      signal: AbortSignal.timeout(20_000),
    });
    const delays: number[] = [];
    for (const stream of streams) {
      let isAcked = false;
      for (let answer = await stream.next(); answer !== undefined; answer = await stream.next()) {
        if (answer.case === "ack") isAcked = true;
        else if (answer.case === "directive" && answer.value.action.case === "reconnect") {
          const { after } = answer.value.action.value;
          delays.push(Number(after?.seconds) * 1_000 + Number(after?.nanos) / 1e6);
        }
      }
      expect(isAcked).toBe(true);
    }
    await drained;
    expect(delays).toHaveLength(30);
    expect(new Set(delays).size).toBeGreaterThan(20);
    expect(Math.max(...delays)).toBeLessThanOrEqual(10_000);
    const late = fixture.connect(device());
    late.hello();
    await expect(late.next()).rejects.toMatchObject({ code: "unavailable", reason: "SHUTTING_DOWN" });
  });

  test("ends what will not end when time is up", async () => {
    await using fixture = await startStreams();
    const stream = fixture.connect(device());
    await stream.open();
    await using hold = await holdUp(fixture.url);
    stream.beat(1);
    await eventually(() => expect(stream.unread).toBe(0));
    const timeUp = new AbortController();
    const drained = fixture.streams.drain({ ratePerSecond: 1, reconnectWithinMs: 0, signal: timeUp.signal });
    expect(await stream.next()).toMatchObject({ case: "directive" });
    timeUp.abort();
    await expect(stream.next()).rejects.toMatchObject({ reason: "SHUTTING_DOWN" });
    await drained;
    await hold.release();
  });
});
