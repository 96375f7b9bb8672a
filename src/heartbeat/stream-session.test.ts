import { describe, expect, test } from "vitest";
import type { HeartbeatRecord } from "../device/state/heartbeat-record.ts";
import { LeftOut } from "./left-out.ts";
import { type CheckedBatch, StreamSession } from "./stream-session.ts";

const nothing: CheckedBatch = { records: [], rejected: [], leftOut: new LeftOut(), through: 0 };

function session(): StreamSession {
  return new StreamSession({ deviceId: "device", epoch: 2, generation: 5 });
}

function rows(count: number): CheckedBatch {
  return { ...nothing, records: Array.from({ length: count }, () => ({}) as HeartbeatRecord) };
}

describe("acks", () => {
  test("merge while nobody takes them", () => {
    const stream = session();
    const first = stream.submission({ ...nothing, through: 3, rejected: [refused(2n)] });
    const second = stream.submission({ ...nothing, through: 4, rejected: [refused(4n)] });
    expect(stream.take()).toBeUndefined();
    first.committed({ ackedThrough: 1, rejected: [] });
    second.committed({ ackedThrough: 3, rejected: [refused(3n)] });
    expect(stream.take()).toEqual({
      kind: "ack",
      ackedThrough: 4,
      epoch: 2,
      rejected: [refused(2n), refused(4n), refused(3n)],
      leftOut: [],
      leftOutCount: 0,
    });
    expect(stream.take()).toBeUndefined();
  });

  test("name the first readings that were left out since the ack before, and count them all", () => {
    const stream = session();
    const leftOut = new LeftOut();
    const reading = { field: "battery_percent", description: "must be from 0 to 100", value: "101" };
    for (let sequence = 1n; sequence <= 50n; sequence++) leftOut.add(sequence, [reading]);
    for (const batch of [
      { ...nothing, leftOut },
      { ...nothing, leftOut },
    ])
      stream.submission(batch).committed({ ackedThrough: 50, rejected: [] });
    const ack = stream.take();
    expect(ack).toMatchObject({ leftOutCount: 100, leftOut: { length: 64 } });
    expect(ack).toMatchObject({ leftOut: expect.arrayContaining([{ sequence: 14n, ...reading }]) });
    stream.submission(nothing).committed({ ackedThrough: 51, rejected: [] });
    expect(stream.take()).toMatchObject({ leftOut: [], leftOutCount: 0 });
  });

  test("carry the stream's epoch and generation to the database", () => {
    expect(session().submission(nothing)).toMatchObject({
      deviceId: "device",
      epoch: 2,
      generation: 5,
      failFast: false,
    });
  });

  test("wake the writer", async () => {
    const stream = session();
    const submission = stream.submission(nothing);
    const changed = stream.changed();
    submission.committed({ ackedThrough: 7, rejected: [] });
    await changed;
    expect(stream.take()).toMatchObject({ ackedThrough: 7 });
  });
});

describe("directives", () => {
  test("take the place of an earlier one that asks for the same", () => {
    const stream = session();
    stream.direct({ id: "1", kind: "update_available", rolloutId: "r" });
    stream.direct({ id: "2", kind: "slow_down", minIntervalMs: 1 });
    stream.direct({ id: "3", kind: "update_available", rolloutId: "other" });
    stream.direct({ id: "4", kind: "update_available", rolloutId: "r" });
    stream.direct({ id: "5", kind: "slow_down", minIntervalMs: 2 });
    expect(drained(stream)).toEqual(["3", "4", "5"]);
  });

  test("are bounded: the oldest goes first", () => {
    const stream = session();
    for (let index = 0; index < 20; index++) {
      stream.direct({ id: `${index}`, kind: "cancel_update", updateId: `${index}`, reason: "" });
    }
    expect(drained(stream)).toEqual(Array.from({ length: 16 }, (_, index) => `${index + 4}`));
  });
});

describe("the end", () => {
  test("comes when all is settled and sent", () => {
    const stream = session();
    const submission = stream.submission(nothing);
    stream.direct({ id: "1", kind: "reconnect", afterMs: 0, reason: "" });
    stream.finish();
    expect(stream.isEnding).toBe(true);
    expect(stream.isDone).toBe(false);
    submission.committed({ ackedThrough: 1, rejected: [] });
    stream.take();
    expect(stream.isDone).toBe(false);
    stream.take();
    expect(stream.isDone).toBe(true);
  });

  test("comes at once with an error, the first one", async () => {
    const stream = session();
    const changed = stream.changed();
    stream.submission(nothing).failed(new Error("first"));
    stream.fail(new Error("second"));
    await changed;
    expect(() => stream.take()).toThrow("first");
    expect(stream.isEnding).toBe(true);
  });
});

describe("a device that is ahead of its acks", () => {
  test("waits at 2,000 rows, until they are settled", async () => {
    const stream = session();
    const first = stream.submission(rows(1_999));
    expect(stream.isCongested).toBe(false);
    stream.submission(rows(1));
    expect(stream.isCongested).toBe(true);
    const room = stream.room();
    first.committed({ ackedThrough: 1, rejected: [] });
    await room;
    expect(stream.isCongested).toBe(false);
  });

  test("waits at 2,000 rows with the refused heartbeats among them", () => {
    const stream = session();
    const rejected = Array.from({ length: 1_999 }, (_, index) => refused(BigInt(index)));
    stream.submission({ ...nothing, rejected });
    expect(stream.isCongested).toBe(false);
    stream.submission(rows(1));
    expect(stream.isCongested).toBe(true);
  });

  test("waits at 256 batches", () => {
    const stream = session();
    for (let index = 0; index < 255; index++) stream.submission(rows(1));
    expect(stream.isCongested).toBe(false);
    stream.submission(rows(1));
    expect(stream.isCongested).toBe(true);
  });

  test("waits when it does not read what was refused", async () => {
    const stream = session();
    const rejected = Array.from({ length: 1_000 }, (_, index) => refused(BigInt(index)));
    stream.submission({ ...nothing, rejected }).committed({ ackedThrough: 0, rejected: [] });
    expect(stream.isCongested).toBe(true);
    const room = stream.room();
    stream.take();
    await room;
    expect(stream.isCongested).toBe(false);
  });

  test("is let go when the stream ends", async () => {
    const stream = session();
    stream.submission(rows(2_000));
    const room = stream.room();
    stream.fail(new Error("cut"));
    await room;
    expect(stream.isCongested).toBe(false);
  });
});

function refused(sequence: bigint): { sequence: bigint; field: string; description: string } {
  return { sequence, field: "f", description: "d" };
}

function drained(stream: StreamSession): string[] {
  const ids: string[] = [];
  for (let output = stream.take(); output !== undefined; output = stream.take()) {
    if (output.kind === "directive") ids.push(output.directive.id);
  }
  return ids;
}
