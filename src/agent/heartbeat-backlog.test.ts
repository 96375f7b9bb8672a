import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { HeartbeatSchema } from "../../gen/ota/v1/heartbeat_pb.js";
import { HeartbeatBacklog } from "./heartbeat-backlog.ts";

test("gives the oldest after the mark, within count and bytes, but never nothing", () => {
  const backlog = ringOf(10, 6, "x".repeat(1000));
  expect(sequences(backlog.after(0n, 4, 1_000_000))).toEqual([1, 2, 3, 4]);
  expect(sequences(backlog.after(2n, 100, 2500))).toEqual([3, 4]);
  expect(sequences(backlog.after(2n, 100, 10))).toEqual([3]);
  expect(backlog.after(6n, 100, 10)).toEqual([]);
});

test("when full, the oldest give way and are counted", () => {
  const backlog = ringOf(3, 5);
  expect(sequences(backlog.after(0n, 10, 1_000_000))).toEqual([3, 4, 5]);
  expect(backlog.dropped).toBe(2);
});

test("forgets what is acknowledged and survives as bytes", () => {
  const backlog = ringOf(10, 5);
  backlog.acknowledge(3n);
  const restored = new HeartbeatBacklog(10);
  restored.restore(backlog.toBytes());
  expect(sequences(restored.after(0n, 10, 1_000_000))).toEqual([4, 5]);
  backlog.acknowledge(99n);
  expect(backlog.size).toBe(0);
});

test("forgets what is too large for any message, and nothing else", () => {
  const backlog = ringOf(10, 2);
  backlog.push(create(HeartbeatSchema, { sequence: 3n, firmwareVersion: "x".repeat(5_000) }));
  backlog.push(create(HeartbeatSchema, { sequence: 4n }));
  expect(backlog.dropLarger(4_000)).toEqual([3n]);
  expect(backlog.dropLarger(4_000)).toEqual([]);
  expect(sequences(backlog.after(0n, 10, 1_000_000))).toEqual([1, 2, 4]);
});

test("refuses a heartbeat that no message can carry, instead of failing on it for ever", () => {
  const backlog = new HeartbeatBacklog(10);
  expect(() => backlog.push(create(HeartbeatSchema, { sequence: 1n, storageFreeBytes: -1n }))).toThrow();
  expect(backlog.size).toBe(0);
});

function ringOf(capacity: number, beats: number, version = "1.0.0"): HeartbeatBacklog {
  const backlog = new HeartbeatBacklog(capacity);
  for (let sequence = 1; sequence <= beats; sequence++) {
    backlog.push(create(HeartbeatSchema, { sequence: BigInt(sequence), firmwareVersion: version }));
  }
  return backlog;
}

function sequences(beats: readonly { sequence: bigint }[]): number[] {
  return beats.map(({ sequence }) => Number(sequence));
}
