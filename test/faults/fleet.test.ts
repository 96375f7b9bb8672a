import { randomBytes } from "node:crypto";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { afterEach, beforeEach, expect, it } from "vitest";
import { AccessService } from "../../gen/ota/v1/access_service_pb.js";
import { FirmwareService } from "../../gen/ota/v1/firmware_service_pb.js";
import { RingState, type Rollout, RolloutState } from "../../gen/ota/v1/rollout_pb.js";
import { RolloutService } from "../../gen/ota/v1/rollout_service_pb.js";
import { FleetSimulator } from "../../src/agent/fleet-simulator.ts";
import type { RpcClient } from "../../src/client/rpc-client.ts";
import { createLogger } from "../../src/infra/logger.ts";
import { generateSigningKey, type SigningKeyPair, signManifest } from "../../src/manifest/signature.ts";
import { eventually } from "../support/eventually.ts";
import { query } from "../support/postgres.ts";
import { startTestService, type TestService } from "../support/service.ts";
import { createFirmware, uploadMessages } from "../support/streaming-device.ts";

const devices = 40;
const factoryVersion = "1.0.0";
const goodVersion = "1.1.0";
const badVersion = "1.2.0";

/** The longest that a rollout may take on a busy machine. */
const rolloutDeadlineMs = 100_000;

const stack = { current: new AsyncDisposableStack() };
let service: TestService;
let rpc: RpcClient;
let fleet: FleetSimulator;
let signingKey: SigningKeyPair;

beforeEach(async () => {
  stack.current = new AsyncDisposableStack();
  service = stack.current.use(
    await startTestService({
      settings: {
        DEVICE_OTA_REQUIRE_SIGNATURE: "true",
        DEVICE_OTA_RATE_LIMIT_HEARTBEAT: "off",
        DEVICE_OTA_RATE_LIMIT_UPDATE_CHECK: "off",
        DEVICE_OTA_RATE_LIMIT_DOWNLOAD: "off",
      },
    }),
  );
  rpc = service.client();
  signingKey = generateSigningKey();
  await rpc.unary(AccessService.method.registerSigningKey, {
    name: "release",
    publicKeyPem: signingKey.publicKeyPem,
  });
  fleet = stack.current.use(
    await FleetSimulator.start({
      address: service.grpcAddress,
      enrolmentKey: service.enrolmentKey,
      trustedKeys: [signingKey.publicKeyPem],
      count: devices,
      factoryVersion,
      models: [{ deviceType: "thermostat", hardwareModel: "tx-200" }],
      behaviour: (version) => (version === badVersion ? "crash" : "healthy"),
      heartbeatIntervalMs: 250,
      installMs: 50,
      rebootMs: 100,
      // Time enough between two crashes to hear of the way back and to take it, also on a busy machine.
      crashAfterMs: 1_000,
      maxRetryPauseMs: 500,
      logger: createLogger({ level: "silent", pretty: false }),
    }),
  );
});

afterEach(() => stack.current.disposeAsync());

it("takes a good update through four rings, and rolls a bad one back by itself", async () => {
  const good = await rollOut(goodVersion, 500);
  const completed = await untilRollout(good, (rollout) => {
    expect(rollout.state).toBe(RolloutState.COMPLETED);
    expect(sumOf(rollout, "succeeded")).toBe(devices);
  });
  expect(completed.rings.map(({ state }) => state)).toEqual(Array(4).fill(RingState.PASSED));
  expect(sumOf(completed, "offered")).toBe(devices);
  expect(await statesOf(good)).toEqual([{ action: "INSTALL", state: "SUCCEEDED", devices }]);
  expect(versionsOf(fleet)).toEqual({ [goodVersion]: devices });

  // Long enough for two crashes.
  const bad = await rollOut(badVersion, 10_000);
  const rolledBack = await untilRollout(bad, (rollout) => {
    expect(rollout.state).toBe(RolloutState.ROLLED_BACK);
  });
  expect(rolledBack.rings.map(({ state }) => state)).toEqual([
    RingState.FAILED,
    ...Array(3).fill(RingState.WAITING),
  ]);
  expect(rolledBack.rings[0]?.counters?.failed).toBeGreaterThan(0n);
  expect(sumOf(rolledBack, "succeeded")).toBe(0);
  expect(rolledBack.rollback).toMatchObject({
    total: rolledBack.rollback?.completed,
    inProgress: 0n,
    failed: 0n,
  });
  expect(rolledBack.rollback?.total).toBeGreaterThan(0n);
  expect(rolledBack.rollback?.total).toBeLessThan(BigInt(devices));
  expect(await auditActions(bad)).toContainEqual({
    action: "rollout.rollback",
    actor: "system:failure-threshold",
  });

  // Who was touched runs the old version again, by the device's own word and by what the service was shown.
  await eventually(async () => {
    expect(versionsOf(fleet)).toEqual({ [goodVersion]: devices });
    expect(await reportedVersions()).toEqual([{ version: goodVersion, devices }]);
  });
  expect(await ringCounters()).toEqual(await recountedRings());
});

/** Creates, uploads, signs and deploys a version with gates that take seconds instead of days. */
async function rollOut(version: string, verificationMs: number): Promise<string> {
  const content = randomBytes(256 * 1024);
  const { id } = await createFirmware(rpc, { product: "app", version, content });
  await rpc.clientStream(FirmwareService.method.uploadFirmware, messagesOf(id, content));
  const { manifest } = await rpc.unary(FirmwareService.method.getFirmwareManifest, { id });
  const signature = signManifest(signingKey.privateKeyPem, manifest);
  await rpc.unary(FirmwareService.method.signFirmware, { id, manifest, keyId: signingKey.keyId, signature });
  const gate = { minSample: 1, minSuccessPercent: 90, soakDuration: durationFromMs(300) };
  const { rollout } = await rpc.unary(FirmwareService.method.deployFirmware, {
    id,
    rings: [
      { name: "canary", percent: 30, gate },
      { name: "early", percent: 50, gate },
      { name: "broad", percent: 75, gate },
      { name: "production", percent: 100, gate },
    ],
    policy: {
      failureThresholdPercent: 20,
      failureMinSample: 2,
      verificationDuration: durationFromMs(verificationMs),
      deviceTimeout: durationFromMs(120_000),
      crashLimit: 2,
    },
  });
  return rollout?.id ?? "";
}

async function* messagesOf(id: string, content: Uint8Array) {
  yield* uploadMessages(id, content);
}

async function untilRollout(id: string, holds: (rollout: Rollout) => void): Promise<Rollout> {
  return eventually(async () => {
    const { rollout } = await rpc.unary(RolloutService.method.getRollout, { id });
    if (rollout === undefined) throw new Error("no rollout in the answer");
    holds(rollout);
    return rollout;
  }, rolloutDeadlineMs);
}

function sumOf(rollout: Rollout, counter: "offered" | "succeeded"): number {
  return rollout.rings.reduce((sum, { counters }) => sum + Number(counters?.[counter] ?? 0n), 0);
}

function versionsOf(of: FleetSimulator): Readonly<Record<string, number>> {
  return of.snapshot().byVersion;
}

async function rowsOf(text: string, values: unknown[] = []): Promise<unknown[]> {
  return await query(service.databaseUrl, text, values);
}

function statesOf(rolloutId: string): Promise<unknown[]> {
  return rowsOf(
    `SELECT action, state, count(DISTINCT device_id)::int AS devices FROM device_updates
     WHERE rollout_id = $1 GROUP BY action, state`,
    [rolloutId],
  );
}

function reportedVersions(): Promise<unknown[]> {
  return rowsOf(
    "SELECT firmware_version AS version, count(*)::int AS devices FROM device_state GROUP BY firmware_version",
  );
}

async function auditActions(resourceId: string) {
  const { events } = await rpc.unary(AccessService.method.listAuditEvents, { resourceId, pageSize: 50 });
  return events.map(({ action, actor }) => ({ action, actor }));
}

function ringCounters(): Promise<unknown[]> {
  return rowsOf(`
    SELECT id, offered_count::int AS offered, in_progress_count::int AS in_progress,
      succeeded_count::int AS succeeded, failed_count::int AS failed, cancelled_count::int AS cancelled,
      rolled_back_count::int AS rolled_back
    FROM deployment_rings ORDER BY id`);
}

function recountedRings(): Promise<unknown[]> {
  return rowsOf(`
    SELECT r.id, count(u.id)::int AS offered,
      (count(u.id) FILTER (WHERE u.ended_at IS NULL))::int AS in_progress,
      (count(u.id) FILTER (WHERE u.state = 'SUCCEEDED'))::int AS succeeded,
      (count(u.id) FILTER (WHERE u.state IN ('FAILED', 'TIMED_OUT')))::int AS failed,
      (count(u.id) FILTER (WHERE u.state IN ('CANCELLED', 'SUPERSEDED')))::int AS cancelled,
      (count(u.id) FILTER (WHERE u.state = 'ROLLED_BACK'))::int AS rolled_back
    FROM deployment_rings r LEFT JOIN device_updates u ON u.ring_id = r.id AND u.action = 'INSTALL'
    GROUP BY r.id ORDER BY r.id`);
}
