import { status } from "@grpc/grpc-js";
import { expect, it } from "vitest";
import { AccessService } from "../../gen/ota/v1/access_service_pb.js";
import { UpdatePin } from "../../gen/ota/v1/device_pb.js";
import { DeviceService } from "../../gen/ota/v1/device_service_pb.js";
import { FirmwareService } from "../../gen/ota/v1/firmware_service_pb.js";
import { DeviceUpdateState, RingState, type Rollout, RolloutState } from "../../gen/ota/v1/rollout_pb.js";
import { RolloutService } from "../../gen/ota/v1/rollout_service_pb.js";
import { NoOfferReason } from "../../gen/ota/v1/update_service_pb.js";
import { RpcClient } from "../../src/client/rpc-client.ts";
import { newContent, publish } from "../support/door-clients.ts";
import { eventually } from "../support/eventually.ts";
import { PolledDevice } from "../support/polled-device.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { SeverableLine } from "../support/severable-line.ts";
import { ServiceProcess } from "./service-process.ts";

const canaryCount = 4;
const deviceCount = 10;

it("a process that is killed in the middle of a promotion: the other one promotes, once, and nothing is lost", async () => {
  await using cleanup = new AsyncDisposableStack();
  const database = cleanup.use(await createTestDatabase({ partitioned: true }));
  const lines = [
    cleanup.use(await SeverableLine.lay(database.url)),
    cleanup.use(await SeverableLine.lay(database.url)),
  ] as const;
  // One after the other: both would make the first credentials.
  const processes = [
    cleanup.use(await ServiceProcess.start(lines[0].url)),
    cleanup.use(await ServiceProcess.start(lines[1].url)),
  ] as const;
  const admins = processes.map((each) => cleanup.use(adminOf(each)));
  const [admin, otherAdmin] = admins;
  if (admin === undefined || otherAdmin === undefined) throw new Error("no client");

  const devices = await Promise.all(
    Array.from({ length: deviceCount }, () => PolledDevice.enrol(admin, processes[0].enrolmentKey)),
  );
  const canaries = devices.slice(0, canaryCount);
  await Promise.all(
    canaries.map(({ id }) =>
      admin.unary(DeviceService.method.updateDevice, { id, updatePin: UpdatePin.CANARY }),
    ),
  );
  const id = await deploy(admin);

  // What one process is told the other one knows: an offer, a pause, the resumption.
  const [asker, heldBack] = canaries;
  const late = canaries.at(-1);
  if (asker === undefined || heldBack === undefined || late === undefined) throw new Error("no device");
  for (const service of processes) await eventually(() => asker.expectOffer(service));
  await admin.unary(RolloutService.method.pauseRollout, { id });
  await eventually(async () => {
    const { noOfferReason } = await heldBack.check(processes[1]);
    expect(noOfferReason).toBe(NoOfferReason.ROLLOUT_PAUSED);
  });
  await otherAdmin.unary(RolloutService.method.resumeRollout, { id });

  // All canaries but one prove the update, half of them at each process.
  await eventually(() => late.expectOffer(processes[0]));
  await late.report(processes[0], DeviceUpdateState.INSTALLING);
  const sprung = Promise.race(
    lines.map(async (line, at) => {
      await line.stopBefore("rollout.promote");
      return at;
    }),
  );
  for (const [at, device] of canaries.slice(0, -1).entries())
    await device.update(processes[at % 2 === 0 ? 0 : 1]);
  await eventually(() => Promise.all(canaries.slice(0, -1).map((device) => device.beat(processes[1]))));

  // Whoever is the first to promote has written all of it but for the record and the commit, and now it is killed.
  const victim = await sprung;
  const survivor = 1 - victim;
  lines[survivor]?.mend();
  const [dead, alive] = [processes[victim], processes[survivor]];
  const rpc = admins[survivor];
  if (dead === undefined || alive === undefined || rpc === undefined) throw new Error("no process");
  expect(ringStates(await read(rpc, id))).toEqual([RingState.OPEN, RingState.WAITING]);
  // A device is telling it how its update went, which it will not be able to confirm.
  const unconfirmed = late.report(dead, DeviceUpdateState.FAILED).catch((error: unknown) => error);
  await dead.signal("SIGKILL");
  expect(await unconfirmed).toMatchObject({ code: status.UNAVAILABLE });
  expect(await late.report(alive, DeviceUpdateState.FAILED)).toBe(DeviceUpdateState.FAILED);

  const promoted = await until(rpc, id, (rollout) => {
    expect(ringStates(rollout)).toEqual([RingState.PASSED, RingState.OPEN]);
  });
  expect(promoted.rings[0]?.counters).toMatchObject({
    offered: BigInt(canaryCount),
    succeeded: BigInt(canaryCount - 1),
    failed: 1n,
    inProgress: 0n,
  });

  // The dead one comes back, and both know of the ring that was opened without it.
  await dead.startAgain();
  const rest = devices.slice(canaryCount);
  for (const [at, device] of rest.entries()) {
    const service = at % 2 === 0 ? alive : dead;
    await eventually(() => device.expectOffer(service));
    await device.update(service);
  }
  await until(rpc, id, async (rollout) => {
    await Promise.all(rest.map((device, at) => device.beat(at % 2 === 0 ? alive : dead)));
    expect(rollout.state).toBe(RolloutState.COMPLETED);
    expect(rollout.rings[1]?.counters).toMatchObject({
      offered: BigInt(rest.length),
      succeeded: BigInt(rest.length),
      inProgress: 0n,
    });
  });
  const { events } = await rpc.unary(AccessService.method.listAuditEvents, { resourceId: id, pageSize: 50 });
  const decided = events.filter(({ actor }) => actor.startsWith("system:")).map(({ action }) => action);
  expect(decided.reverse()).toEqual(["rollout.promote", "rollout.complete"]);
  // Every device has had one update, and what became of it is what it said.
  const { deviceUpdates } = await rpc.unary(RolloutService.method.listDeviceUpdates, { rolloutId: id });
  expect(deviceUpdates.map(({ deviceId }) => deviceId).toSorted()).toEqual(
    devices.map((device) => device.id).toSorted(),
  );
  const failed = deviceUpdates.filter(({ state }) => state !== DeviceUpdateState.SUCCEEDED);
  expect(failed).toMatchObject([
    { deviceId: late.id, state: DeviceUpdateState.FAILED, failureReason: "NO_SPACE" },
  ]);
});

function adminOf({ grpcAddress, adminToken }: ServiceProcess): RpcClient {
  return new RpcClient({ address: grpcAddress, token: adminToken });
}

/** A rollout whose first ring is the canaries' alone, and passes once three of them succeeded. */
async function deploy(rpc: RpcClient): Promise<string> {
  const { id: firmwareId } = await publish({ client: () => rpc }, newContent(1_000), { product: "app" });
  const { rollout } = await rpc.unary(FirmwareService.method.deployFirmware, {
    id: firmwareId,
    // One failed canary of four must not stop what its gate has let pass.
    policy: { verificationDuration: {}, failureThresholdPercent: 50 },
    rings: [
      {
        name: "canary",
        percent: 0.01,
        gate: { minSample: canaryCount - 1, minSuccessPercent: 60, soakDuration: {} },
      },
      { name: "all", percent: 100, gate: { minSample: 1, minSuccessPercent: 60, soakDuration: {} } },
    ],
  });
  return rollout?.id ?? "";
}

async function read(rpc: RpcClient, id: string): Promise<Rollout> {
  const { rollout } = await rpc.unary(RolloutService.method.getRollout, { id });
  if (rollout === undefined) throw new Error("no rollout in the answer");
  return rollout;
}

function until(
  rpc: RpcClient,
  id: string,
  holds: (rollout: Rollout) => void | Promise<void>,
): Promise<Rollout> {
  return eventually(async () => {
    const rollout = await read(rpc, id);
    await holds(rollout);
    return rollout;
  });
}

function ringStates({ rings }: Rollout): RingState[] {
  return rings.map(({ state }) => state);
}
