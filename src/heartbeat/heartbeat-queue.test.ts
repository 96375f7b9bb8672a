import { describe, expect, test } from "vitest";
import type { HeartbeatRecord } from "../device/state/heartbeat-record.ts";
import { HeartbeatQueue, type QueuedBatch, type Submission } from "./heartbeat-queue.ts";

const never = new AbortController().signal;
const idle = (): boolean => false;

function batch(deviceId: string, rows: number, more: Partial<Submission> = {}): Submission {
  const record: HeartbeatRecord = {
    deviceId,
    epoch: 1,
    sequence: 1,
    receivedAt: new Date(0),
    firmwareVersion: "",
    bootId: "",
    uptimeMs: 0,
    securityCounter: 0,
    errors: [],
    metrics: undefined,
  };
  return {
    deviceId,
    epoch: 1,
    generation: 0,
    records: Array.from({ length: rows }, () => record),
    failFast: false,
    committed: () => undefined,
    failed: () => undefined,
    ...more,
  };
}

function queueOf(...batches: readonly Submission[]): HeartbeatQueue {
  const queue = new HeartbeatQueue({ maxRows: 1_000, maxBytes: 1_000_000 });
  for (const submission of batches) queue.push(submission);
  return queue;
}

function devices(taken: readonly QueuedBatch[]): string[] {
  return taken.map(({ submission }) => submission.deviceId);
}

describe("taking", () => {
  test("goes in order, up to the rows of a flush", () => {
    const queue = queueOf(batch("a", 2), batch("b", 2), batch("c", 2));
    expect(devices(queue.take(3, 1e9, idle))).toEqual(["a", "b"]);
    expect(queue.queuedRows).toBe(2);
    expect(queue.heldRows).toBe(6);
    expect(devices(queue.take(3, 1e9, idle))).toEqual(["c"]);
    expect(queue.length).toBe(0);
  });

  test("leaves busy devices, and keeps their order", () => {
    const [a1, a2, a3] = [batch("a", 1), batch("a", 2), batch("a", 3)];
    const queue = queueOf(a1, batch("b", 1), a2, a3);
    expect(devices(queue.take(100, 1e9, (id) => id === "a"))).toEqual(["b"]);
    expect(queue.take(100, 1e9, idle).map(({ submission }) => submission)).toEqual([a1, a2, a3]);
  });

  test("takes of a device only what is of one epoch and one stream, and nothing behind that", () => {
    const queue = queueOf(
      batch("a", 1, { generation: 1 }),
      batch("a", 1, { generation: 2 }),
      batch("a", 1, { generation: 1 }),
      batch("b", 1, { epoch: 1 }),
      batch("b", 1, { epoch: 2 }),
    );
    expect(devices(queue.take(100, 1e9, idle))).toEqual(["a", "b"]);
    const second = queue.take(100, 1e9, idle);
    expect(
      second.map(({ submission }) => [submission.deviceId, submission.generation, submission.epoch]),
    ).toEqual([
      ["a", 2, 1],
      ["b", 0, 2],
    ]);
  });
});

describe("room", () => {
  test("is for rows that are being written too", async () => {
    const queue = new HeartbeatQueue({ maxRows: 3, maxBytes: 1e9 });
    queue.push(batch("a", 3));
    expect(queue.isFull).toBe(true);
    const [taken] = queue.take(10, 1e9, idle);
    expect(queue.isFull).toBe(true);
    queue.release(taken as QueuedBatch);
    expect(queue.isFull).toBe(false);
    expect(queue.heldBytes).toBe(0);
  });

  test("is given in turn, and newcomers wait behind those who wait", async () => {
    const queue = new HeartbeatQueue({ maxRows: 1, maxBytes: 1e9 });
    queue.push(batch("a", 1));
    const order: string[] = [];
    const b = queue.pushLater(batch("b", 1), never).then(() => order.push("b"));
    const c = queue.pushLater(batch("c", 1), never).then(() => order.push("c"));
    for (const next of ["b", "c"]) {
      const [taken] = queue.take(10, 1e9, idle);
      queue.release(taken as QueuedBatch);
      await (next === "b" ? b : c);
      expect(queue.isFull).toBe(true);
    }
    expect(order).toEqual(["b", "c"]);
  });

  test("is not kept for one who went away", async () => {
    const queue = new HeartbeatQueue({ maxRows: 1, maxBytes: 1e9 });
    queue.push(batch("a", 1));
    const gone = new AbortController();
    const waiting = queue.pushLater(batch("b", 1), gone.signal);
    gone.abort(new Error("gone"));
    await expect(waiting).rejects.toThrow("gone");
    await expect(queue.pushLater(batch("b", 1), gone.signal)).rejects.toThrow("gone");
    const [taken] = queue.take(10, 1e9, idle);
    queue.release(taken as QueuedBatch);
    expect(queue.length).toBe(0);
    expect(queue.isFull).toBe(false);
  });

  test("is refused to all who wait when the queue closes", async () => {
    const queue = new HeartbeatQueue({ maxRows: 1, maxBytes: 1e9 });
    queue.push(batch("a", 1));
    const waiting = [queue.pushLater(batch("b", 1), never), queue.pushLater(batch("c", 1), never)];
    queue.refuseWaiting(new Error("closed"));
    for (const wait of waiting) await expect(wait).rejects.toThrow("closed");
  });

  test("is counted in bytes by what the rows hold", () => {
    const queue = queueOf();
    queue.push(batch("a", 1));
    const plain = queue.heldBytes;
    const [record] = batch("a", 1).records;
    const errors = [
      { code: "E", severity: "INFO", message: "m".repeat(500), stack: "", fatal: false } as const,
    ];
    queue.push({ ...batch("a", 0), records: [{ ...(record as HeartbeatRecord), errors }] });
    expect(queue.heldBytes - plain).toBeGreaterThan(plain + 1_000);
  });
});

test("batches can be picked out wherever they stand", () => {
  const queue = queueOf(batch("a", 1), batch("b", 2, { failFast: true }), batch("c", 3));
  expect(devices(queue.takeWhere(({ failFast }) => failFast))).toEqual(["b"]);
  expect(queue.queuedRows).toBe(4);
  expect(devices(queue.take(10, 1e9, idle))).toEqual(["a", "c"]);
});
