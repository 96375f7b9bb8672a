import { randomBytes } from "node:crypto";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { expect, it } from "vitest";
import { FirmwareService } from "../../gen/ota/v1/firmware_service_pb.js";
import { RingState, RolloutState } from "../../gen/ota/v1/rollout_pb.js";
import { RolloutService } from "../../gen/ota/v1/rollout_service_pb.js";
import { FleetSimulator } from "../../src/agent/fleet-simulator.ts";
import { createLogger } from "../../src/infra/logger.ts";
import { eventually } from "../support/eventually.ts";
import { query } from "../support/postgres.ts";
import { startTestService } from "../support/service.ts";
import { createFirmware, uploadMessages } from "../support/streaming-device.ts";

/**
 * A device costs some 40 ms of processor time from its enrolment to the proof, for agent, service and database together,
 * so two cores bring this many to the end within half a minute. `TEST_FLEET_SIZE=2000` takes minutes. The rules themselves
 * are shown with 2,000 devices in test/rollout/fleet-of-2000, which need no sockets.
 */
const devices = Number(process.env["TEST_FLEET_SIZE"] ?? 150);
const version = "1.1.0";

/** On a busy machine, and for larger fleets. */
const deadlineMs = 240_000;

it("many devices on connections of their own take an update over four rings", async () => {
  await using service = await startTestService({
    settings: {
      DEVICE_OTA_REQUIRE_SIGNATURE: "false",
      DEVICE_OTA_RATE_LIMIT_HEARTBEAT: "off",
      DEVICE_OTA_RATE_LIMIT_UPDATE_CHECK: "off",
      DEVICE_OTA_RATE_LIMIT_DOWNLOAD: "off",
    },
  });
  await using fleet = await FleetSimulator.start({
    address: service.grpcAddress,
    enrolmentKey: service.enrolmentKey,
    trustedKeys: [],
    allowUnsigned: true,
    count: devices,
    models: [{ deviceType: "thermostat", hardwareModel: "tx-200" }],
    heartbeatIntervalMs: 1_500,
    downloadConcurrency: 64,
    installMs: 50,
    rebootMs: 100,
    maxRetryPauseMs: 2_000,
    logger: createLogger({ level: "silent", pretty: false }),
  });
  await eventually(() => expect(fleet.snapshot().online).toBe(devices), deadlineMs);

  const rpc = service.client();
  const content = randomBytes(16 * 1024);
  const { id: firmwareId } = await createFirmware(rpc, { product: "app", version, content });
  await rpc.clientStream(FirmwareService.method.uploadFirmware, messagesOf(firmwareId, content));
  const gate = { minSample: 1, minSuccessPercent: 90, soakDuration: durationFromMs(500) };
  const { rollout } = await rpc.unary(FirmwareService.method.deployFirmware, {
    id: firmwareId,
    rings: [
      { name: "canary", percent: 5, gate },
      { name: "early", percent: 25, gate },
      { name: "broad", percent: 75, gate },
      { name: "production", percent: 100, gate },
    ],
    policy: { verificationDuration: durationFromMs(1_000), deviceTimeout: durationFromMs(deadlineMs) },
  });
  const id = rollout?.id ?? "";
  const completed = await eventually(async () => {
    const { rollout: now } = await rpc.unary(RolloutService.method.getRollout, { id });
    expect(now?.state).toBe(RolloutState.COMPLETED);
    expect(now?.rings.reduce((sum, { counters }) => sum + (counters?.succeeded ?? 0n), 0n)).toBe(
      BigInt(devices),
    );
    return now;
  }, deadlineMs);
  expect(completed?.rings.map(({ state }) => state)).toEqual(Array(4).fill(RingState.PASSED));
  expect(fleet.snapshot().byVersion).toEqual({ [version]: devices });

  const rows = (text: string) => query(service.databaseUrl, text);
  expect(
    await rows("SELECT action, state, count(*)::int AS updates FROM device_updates GROUP BY 1, 2"),
  ).toEqual([{ action: "INSTALL", state: "SUCCEEDED", updates: devices }]);
  expect(
    await rows(
      `SELECT sum(offered_count)::int AS offered, sum(in_progress_count)::int AS in_progress,
         sum(succeeded_count)::int AS succeeded, sum(failed_count)::int AS failed FROM deployment_rings`,
    ),
  ).toEqual([{ offered: devices, in_progress: 0, succeeded: devices, failed: 0 }]);
});

async function* messagesOf(id: string, content: Uint8Array) {
  yield* uploadMessages(id, content);
}
