import { status } from "@grpc/grpc-js";
import { describe, expect, it } from "vitest";
import { DeviceService } from "../../gen/ota/v1/device_service_pb.js";
import { DeviceMemory } from "../../src/agent/device-memory.ts";
import type { SessionState } from "../../src/agent/heartbeat-session.ts";
import { ReEnrolment } from "../../src/agent/re-enrolment.ts";
import { ClientError } from "../../src/client/client-error.ts";
import { systemClock } from "../../src/infra/clock.ts";
import { eventually } from "../support/eventually.ts";
import { startTestService } from "../support/service.ts";
import { chip, silentLogger, TestDevice } from "./agent-harness.ts";
import { FixtureService, statusOf } from "./fixture-service.ts";

const unknown = statusOf(status.UNAUTHENTICATED, "CREDENTIAL_INVALID");

describe("a device that the service does not know any more", () => {
  it("enrols again, once, with its fleet key, and keeps everything but its identity", async () => {
    await using service = await FixtureService.start();
    await using device = await TestDevice.make(service);
    const states: SessionState[] = [];
    await device.boot({ onState: (state) => states.push(state) });
    await eventually(() => expect(service.device.beats.length).toBeGreaterThan(1));
    const before = await device.storage.load();
    // The service is away when it asks, and its answer is lost once.
    service.failures.push({ method: "enrolDevice", error: { code: status.UNAVAILABLE, details: "away" } });
    service.streamFailures.push(unknown);
    await device.reboot({ onState: (state) => states.push(state) });
    await eventually(() => expect(service.enrolments).toHaveLength(3));
    await eventually(() => expect(states.at(-1)).toBe("connected"));
    const [first, second, third] = service.enrolments;
    expect(second?.requestId).not.toBe(first?.requestId);
    expect(third?.requestId).toBe(second?.requestId);
    const after = await device.storage.load();
    expect(after).toMatchObject({ ran: before?.ran, enrolmentRequestId: second?.requestId });
    expect(after?.lostDeviceId).toBeUndefined();
    expect(after?.sequence).toBeGreaterThanOrEqual(before?.sequence ?? Number.NaN);

    // A service that forgets it at once again does not have it enrol without end.
    const streams = states.length;
    service.streamFailures.push(unknown);
    service.pause();
    await service.resume();
    await eventually(() => expect(states.slice(streams)).toContain("refused"));
    expect(service.enrolments).toHaveLength(3);
  });

  it("goes on as the same try after a loss of power", async () => {
    await using service = await FixtureService.start();
    await using device = await TestDevice.make(service);
    await device.boot();
    const state = await device.storage.load();
    await device.agent.stop();
    const lostDeviceId = state?.identity?.deviceId;
    const enrolmentRequestId = "22222222-2222-4222-8222-222222222222";
    if (state !== undefined) await device.storage.save({ ...state, enrolmentRequestId, lostDeviceId });
    service.streamFailures.push(unknown);
    await device.boot();
    await eventually(() => expect(service.enrolments).toHaveLength(2));
    expect(service.enrolments[1]?.requestId).toBe(enrolmentRequestId);
  });

  it("keeps its identity where it is refused, and asks no second time", async () => {
    await using service = await FixtureService.start();
    await using device = await TestDevice.make(service);
    await device.boot();
    const before = await device.storage.load();
    const refused = statusOf(status.ALREADY_EXISTS, "DUPLICATE");
    service.failures.push({ method: "enrolDevice", error: refused });
    service.streamFailures.push(unknown);
    const states: SessionState[] = [];
    await device.reboot({ onState: (state) => states.push(state) });
    await eventually(() => expect(service.enrolments).toHaveLength(2));
    await device.agent.stop();
    expect((await device.storage.load())?.identity).toEqual(before?.identity);
    expect(states).toContain("refused");
  });

  it.each([
    ["was reset", status.UNAUTHENTICATED, "CREDENTIAL_REVOKED", {}],
    ["was blocked", status.PERMISSION_DENIED, "DEVICE_BLOCKED", {}],
    ["let its token end", status.UNAUTHENTICATED, "CREDENTIAL_EXPIRED", {}],
    ["has no key any more", status.UNAUTHENTICATED, "CREDENTIAL_INVALID", { enrolmentKey: "" }],
    ["has no certificate", status.UNAUTHENTICATED, "CERTIFICATE_UNKNOWN", {}],
  ] as const)("stays out where it %s", async (_, code, reason, enrolment) => {
    await using service = await FixtureService.start();
    await using device = await TestDevice.make(service);
    await device.boot();
    service.streamFailures.push(statusOf(code, reason));
    const states: SessionState[] = [];
    const key = { enrolmentKey: "ota_enrol_0123456789", serialNumber: "SN-1", ...enrolment };
    await device.reboot({ enrolment: key, onState: (state) => states.push(state) });
    await eventually(() => expect(states).toContain("refused"));
    await device.agent.stop();
    expect(service.enrolments).toHaveLength(1);
  });
});

it("a device with a key of its own asks only a service that tells forgotten devices from those that were shut out", async () => {
  await using service = await FixtureService.start();
  await using device = await TestDevice.make(service);
  await device.boot();
  const memory = await DeviceMemory.open(device.storage);
  await memory.update({ identity: { deviceId: "d", token: "" } });
  const asked: (string | undefined)[] = [];
  const renewal = new ReEnrolment({
    memory,
    enrol: async (_, formerDeviceId) => void asked.push(formerDeviceId),
    hasKey: true,
    certified: false,
    logger: silentLogger,
    random: () => 0,
    clock: systemClock,
  });
  const { signal } = new AbortController();
  const refusal = (metadata: Record<string, string>) =>
    new ClientError(status.UNAUTHENTICATED, "refused", { reason: "CREDENTIAL_INVALID", metadata });
  expect(await renewal.after(refusal({}), signal)).toBe(false);
  expect(asked).toEqual([]);
  expect(await renewal.after(refusal({ enrol_with: "former_device_id" }), signal)).toBe(true);
  expect(asked).toEqual(["d"]);
});

it("a real service tells a device that was reset, blocked or retired from one that it does not know", async () => {
  await using service = await startTestService();
  // Another service with the fleet's key knows nothing of the device, as one whose database was restored.
  await using forgetful = await startTestService();
  const keyed = chip();
  const at = { address: forgetful.grpcAddress };
  await using lost = await TestDevice.make(at);
  const fleet = { enrolmentKey: forgetful.enrolmentKey, serialNumber: "lost" };
  await lost.boot({ enrolment: fleet, signer: keyed });
  await eventually(() => expect(lost.agent.heartbeats.acknowledged).toBeGreaterThan(0));
  const before = lost.agent.deviceId;
  at.address = service.grpcAddress;
  await lost.reboot({ enrolment: fleet, signer: keyed });
  await eventually(() => expect(lost.agent.heartbeats.acknowledged).toBeGreaterThan(0));
  expect(lost.agent.deviceId).not.toBe(before);

  const rpc = service.client();
  const { blockDevice, retireDevice, getDevice, resetDeviceCredential } = DeviceService.method;
  const shutOut = [
    (id: string) => rpc.unary(resetDeviceCredential, { id, reason: "lost" }),
    (id: string) => rpc.unary(blockDevice, { id, reason: "stolen" }),
    (id: string) => rpc.unary(retireDevice, { id }),
  ];
  const cases = [undefined, chip()].flatMap((key) => shutOut.map((shut) => ({ key, shut })));
  for (const [index, { key, shut }] of cases.entries()) {
    await using device = await TestDevice.make({ address: service.grpcAddress });
    const states: SessionState[] = [];
    const enrolment = { enrolmentKey: service.enrolmentKey, serialNumber: `shut out ${index}` };
    await device.boot({ enrolment, signer: key, onState: (state) => states.push(state) });
    await eventually(() => expect(device.agent.heartbeats.acknowledged).toBeGreaterThan(0));
    const { deviceId } = device.agent;
    const effect = await shut(deviceId);
    await eventually(() => expect(states).toContain("refused"));
    await device.agent.stop();
    expect((await device.storage.load())?.identity?.deviceId).toBe(deviceId);
    const { device: shown } = await rpc.unary(getDevice, { id: deviceId });
    expect(shown?.id).toBe(deviceId);
    // The leave is for the board that an operator means, and still there.
    const isReset = effect.$typeName === "ota.v1.ResetDeviceCredentialResponse";
    expect(shown?.enrolUntilTime !== undefined).toBe(isReset);
  }
});
