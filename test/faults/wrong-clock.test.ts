import { durationFromMs, type Timestamp, timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import { expect, it } from "vitest";
import { UpdatePin } from "../../gen/ota/v1/device_pb.js";
import { DeviceService } from "../../gen/ota/v1/device_service_pb.js";
import { DeviceUpdateState, type Rollout, RolloutState } from "../../gen/ota/v1/rollout_pb.js";
import { RolloutService } from "../../gen/ota/v1/rollout_service_pb.js";
import type { RpcClient } from "../../src/client/rpc-client.ts";
import { type MachineClock, systemClock } from "../../src/infra/clock.ts";
import { newContent, publish } from "../support/door-clients.ts";
import { eventually } from "../support/eventually.ts";
import { PolledDevice } from "../support/polled-device.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { startTestService } from "../support/service.ts";

const hour = 3_600_000;
const verificationMs = 4_000;
const soakMs = 3_000;
const startsInMs = 3_000;
const deviceCount = 4;

/** A machine whose wall clock is wrong, and set anew as one likes. */
class WrongClock implements MachineClock {
  aheadMs: number;

  constructor(aheadMs: number) {
    this.aheadMs = aheadMs;
  }

  now(): Date {
    return new Date(Date.now() + this.aheadMs);
  }

  monotonicMs(): number {
    return systemClock.monotonicMs();
  }

  sinceBootMs(): number {
    return systemClock.sinceBootMs();
  }
}

/** Its devices say that they are there as often as the test looks. */
const settings = { DEVICE_OTA_RATE_LIMIT_HEARTBEAT: "off", DEVICE_OTA_RATE_LIMIT_UPDATE_CHECK: "off" };

it("a replica whose clock is wrong, and is set, beside one that is right: nothing begins, ends or fails by it", async () => {
  await using database = await createTestDatabase();
  const wrong = new WrongClock(24 * hour);
  await using right = await startTestService({ databaseUrl: database.url, settings });
  await using other = await startTestService({ databaseUrl: database.url, settings, clock: wrong });
  const rpc = right.client();
  const replicas = [right, other] as const;
  const devices = await Promise.all(
    Array.from({ length: deviceCount }, () => PolledDevice.enrol(rpc, right.enrolmentKey)),
  );
  await Promise.all(
    devices.map(({ id }) =>
      rpc.unary(DeviceService.method.updateDevice, { id, updatePin: UpdatePin.CANARY }),
    ),
  );
  const startAtMs = Date.now() + startsInMs;
  const id = await schedule(rpc, startAtMs);

  const rollout = await eventually(() => inState(rpc, id, RolloutState.RUNNING));
  expect(msOf(rollout.startTime)).toBeGreaterThanOrEqual(startAtMs);
  for (const [at, device] of devices.entries()) await device.update(replicas[at % 2 === 0 ? 0 : 1]);
  // The wrong one is put too far the other way, in the middle of the watch and of the soak.
  wrong.aheadMs = -hour;
  const beat = () => Promise.all(devices.map((device, at) => device.beat(replicas[at % 2 === 0 ? 0 : 1])));
  await eventually(async () => {
    await beat();
    const states = (await updatesOf(rpc, id)).map(({ state }) => DeviceUpdateState[state]);
    expect(states).toEqual(devices.map(() => "SUCCEEDED"));
  });
  wrong.aheadMs = 24 * hour;
  const completed = await eventually(async () => {
    await beat();
    return await inState(rpc, id, RolloutState.COMPLETED);
  });

  for (const update of await updatesOf(rpc, id)) {
    expect(msOf(update.endTime) - msOf(update.proveTime)).toBeGreaterThanOrEqual(verificationMs);
  }
  const lastEndMs = Math.max(...(await updatesOf(rpc, id)).map(({ endTime }) => msOf(endTime)));
  expect(msOf(completed.rings[0]?.passTime) - lastEndMs).toBeGreaterThanOrEqual(soakMs);
  for (const replica of replicas) {
    await eventually(async () => {
      await beat();
      const overview = await replica.client().unary(DeviceService.method.getDeviceStatusOverview, {});
      expect([overview.onlineCount, overview.offlineCount]).toEqual([BigInt(deviceCount), 0n]);
    });
    const { device } = await replica
      .client()
      .unary(DeviceService.method.getDevice, { id: devices[1]?.id ?? "" });
    expect(Math.abs(Date.now() - msOf(device?.lastSeenTime))).toBeLessThan(hour / 2);
  }
});

async function schedule(rpc: RpcClient, startAtMs: number): Promise<string> {
  const { id: firmwareId } = await publish({ client: () => rpc }, newContent(1_000), { product: "app" });
  const gate = { soakDuration: durationFromMs(soakMs) };
  const { rollout } = await rpc.unary(RolloutService.method.createRollout, {
    firmwareId,
    policy: {
      startTime: timestampFromMs(startAtMs),
      verificationDuration: durationFromMs(verificationMs),
      returnDuration: durationFromMs(60_000),
    },
    rings: [
      { name: "canary", percent: 50, gate },
      { name: "all", percent: 100, gate },
    ],
  });
  const id = rollout?.id ?? "";
  await rpc.unary(RolloutService.method.startRollout, { id });
  return id;
}

async function inState(rpc: RpcClient, id: string, state: RolloutState): Promise<Rollout> {
  const { rollout } = await rpc.unary(RolloutService.method.getRollout, { id });
  expect(RolloutState[rollout?.state ?? 0]).toBe(RolloutState[state]);
  return rollout as Rollout;
}

async function updatesOf(rpc: RpcClient, rolloutId: string) {
  const { deviceUpdates } = await rpc.unary(RolloutService.method.listDeviceUpdates, { rolloutId });
  return deviceUpdates;
}

function msOf(time: Timestamp | undefined): number {
  return time === undefined ? 0 : timestampMs(time);
}
