import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { status } from "@grpc/grpc-js";
import { expect, test } from "vitest";
import { eventually } from "../support/eventually.ts";
import { TestDevice } from "./agent-harness.ts";
import { FixtureService, statusOf } from "./fixture-service.ts";

test("enrols once, says hello and beats at the service's interval", async () => {
  await using service = await FixtureService.start();
  await using device = await TestDevice.make(service);
  await device.boot();
  await eventually(() => expect(service.device.beats.length).toBeGreaterThanOrEqual(4));
  expect(service.device.beats.map(({ sequence }) => sequence).slice(0, 4)).toEqual([1n, 2n, 3n, 4n]);
  expect(service.device.beats[0]).toMatchObject({
    firmwareVersion: "1.0.0",
    bootId: "boot-1",
    batteryPercent: 80,
    charging: false,
  });
  await device.reboot();
  await eventually(() => expect(service.device.hellos).toHaveLength(2));
  expect(service.enrolments).toHaveLength(1);
  expect(service.device.hellos[1]).toMatchObject({ bootId: "boot-2", epoch: 1 });
  expect(service.device.goodbyes).toEqual(["reboot"]);
});

test("a lost enrolment answer is asked for again under the same request id", async () => {
  await using service = await FixtureService.start();
  service.failures.push({ method: "enrolDevice", error: { code: status.UNAVAILABLE, details: "away" } });
  await using device = await TestDevice.make(service);
  await device.boot();
  expect(service.enrolments).toHaveLength(2);
  expect(service.enrolments[1]?.requestId).toBe(service.enrolments[0]?.requestId);
});

test("a refused enrolment is an error with the service's reason", async () => {
  await using service = await FixtureService.start();
  service.failures.push({
    method: "enrolDevice",
    error: statusOf(status.UNAUTHENTICATED, "ENROLMENT_KEY_INVALID"),
  });
  await using device = await TestDevice.make(service);
  await expect(device.boot()).rejects.toMatchObject({ reason: "ENROLMENT_KEY_INVALID" });
});

test("what was not acknowledged is sent again after the service was away, and stored once", async () => {
  await using service = await FixtureService.start();
  await using device = await TestDevice.make(service);
  const agent = await device.boot({ heartbeatIntervalMs: 20 });
  await eventually(() => expect(service.device.beats.length).toBeGreaterThanOrEqual(2));
  service.acknowledging = false;
  const before = service.device.beats.length;
  await eventually(() => expect(service.device.beats.length).toBeGreaterThan(before + 1));
  service.pause();
  await eventually(() => expect(agent.heartbeats.waiting).toBeGreaterThanOrEqual(8));
  service.acknowledging = true;
  await service.resume();
  await eventually(() => expect(agent.heartbeats.waiting).toBeLessThanOrEqual(2));
  const sequences = service.device.beats.map(({ sequence }) => Number(sequence));
  expect(sequences).toEqual(sequences.map((_, index) => index + 1));
  expect(agent.heartbeats.dropped).toBe(0);
});

test("a backlog travels in batches no larger than the service wants", async () => {
  await using service = await FixtureService.start();
  service.maxBatchSize = 3;
  service.acknowledging = false;
  await using device = await TestDevice.make(service);
  const agent = await device.boot({ heartbeatIntervalMs: 10 });
  await eventually(() => expect(service.device.batches.length).toBeGreaterThanOrEqual(1));
  service.pause();
  await eventually(() => expect(agent.heartbeats.waiting).toBeGreaterThanOrEqual(12));
  service.acknowledging = true;
  await service.resume();
  await eventually(() => expect(agent.heartbeats.waiting).toBeLessThanOrEqual(2));
  const sizes = service.device.batches.map((batch) => batch.length);
  expect(Math.max(...sizes)).toBe(3);
});

test("the oldest heartbeats give way when the backlog is full, and are counted", async () => {
  await using service = await FixtureService.start();
  service.acknowledging = false;
  await using device = await TestDevice.make(service);
  const agent = await device.boot({ heartbeatIntervalMs: 5, maxBacklog: 4 });
  await eventually(() => expect(agent.heartbeats.dropped).toBeGreaterThan(2));
  expect(agent.heartbeats.waiting).toBeLessThanOrEqual(4);
});

test("unacknowledged heartbeats outlive a planned reboot", async () => {
  await using service = await FixtureService.start();
  service.acknowledging = false;
  await using device = await TestDevice.make(service);
  const agent = await device.boot({ heartbeatIntervalMs: 20 });
  await eventually(() => expect(service.device.hellos).toHaveLength(1));
  service.pause();
  agent.report({ code: "E_DISK", message: "late news" });
  await eventually(() => expect(agent.heartbeats.waiting).toBeGreaterThanOrEqual(3));
  await agent.stop("reboot");
  service.acknowledging = true;
  await service.resume();
  await device.boot();
  await eventually(() =>
    expect(service.device.beats.flatMap(({ errors }) => errors.map(({ code }) => code))).toEqual(["E_DISK"]),
  );
});

test("a device that lost its counter begins a new epoch and its heartbeats count again", async () => {
  await using service = await FixtureService.start();
  await using device = await TestDevice.make(service);
  const agent = await device.boot();
  await eventually(() => expect(service.device.beats.length).toBeGreaterThanOrEqual(1));
  await agent.stop();
  service.device.mark = 5000n;
  await device.boot();
  await eventually(() => expect(service.device.epoch).toBe(2));
  const before = service.device.beats.length;
  await eventually(() => expect(service.device.beats.length).toBeGreaterThan(before + 1));
});

test("an epoch that the service calls stale is left behind", async () => {
  await using service = await FixtureService.start();
  await using device = await TestDevice.make(service);
  await (await device.boot()).stop();
  service.device.epoch = 7;
  await device.boot();
  await eventually(() => expect(service.device.epoch).toBe(8));
});

test("a heartbeat that is too large for the service is given up, and the others get through", async () => {
  await using service = await FixtureService.start();
  await using device = await TestDevice.make(service);
  const agent = await device.boot({ heartbeatIntervalMs: 20 });
  await eventually(() => expect(agent.heartbeats.acknowledged).toBeGreaterThan(0));
  agent.report({ code: "E", message: "x".repeat(5_000_000) });
  await eventually(() => expect(agent.heartbeats.rejected).toBe(1));
  const before = agent.heartbeats.acknowledged;
  await eventually(() => expect(agent.heartbeats.acknowledged).toBeGreaterThan(before));
});

test("a stream ended by a newer one of the same identity is not fought for", async () => {
  await using service = await FixtureService.start();
  await using device = await TestDevice.make(service);
  const states: string[] = [];
  await device.boot({ onState: (state) => states.push(state) });
  await eventually(() => expect(states.at(-1)).toBe("connected"));
  service.endStream(service.device, statusOf(status.ABORTED, "STREAM_SUPERSEDED"));
  await eventually(() => expect(states).toContain("superseded"));
  // The unary calls go on meanwhile; two more checks give a reconnection the time to show.
  const checks = service.checks.length;
  await eventually(() => expect(service.checks.length).toBeGreaterThanOrEqual(checks + 2));
  expect(service.device.hellos).toHaveLength(1);
});

test("directives are obeyed: check now, slow down, reconnect", async () => {
  await using service = await FixtureService.start();
  service.checkAfterMs = 3_600_000;
  await using device = await TestDevice.make(service);
  await device.boot();
  await eventually(() => expect(service.checks).toHaveLength(1));
  await eventually(() => expect(service.device.call).toBeDefined());
  service.direct(service.device, { case: "updateAvailable", value: { rolloutId: "r" } });
  await eventually(() => expect(service.checks).toHaveLength(2));
  service.direct(service.device, { case: "reconnect", value: { after: durationFromMs(10) } });
  await eventually(() => expect(service.device.hellos).toHaveLength(2));
  service.direct(service.device, { case: "slowDown", value: { minInterval: durationFromMs(3_600_000) } });
  service.direct(service.device, { case: "updateAvailable", value: { rolloutId: "r" } });
  await eventually(() => expect(service.checks).toHaveLength(3));
  await eventually(() => expect(device.agent.heartbeats.waiting).toBe(0));
});

test("a device cut off from the network keeps its heartbeats", async () => {
  await using service = await FixtureService.start();
  await using device = await TestDevice.make(service);
  const agent = await device.boot({ heartbeatIntervalMs: 20 });
  await eventually(() => expect(service.device.beats.length).toBeGreaterThanOrEqual(1));
  agent.disconnect(300);
  await eventually(() => expect(agent.heartbeats.waiting).toBeGreaterThanOrEqual(5));
  await eventually(() => expect(service.device.hellos).toHaveLength(2));
  await eventually(() => expect(agent.heartbeats.waiting).toBeLessThanOrEqual(1));
  const sequences = service.device.beats.map(({ sequence }) => Number(sequence));
  expect(sequences).toEqual(sequences.map((_, index) => index + 1));
});
