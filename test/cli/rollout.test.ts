import { tmpdir } from "node:os";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { Role } from "../../gen/ota/v1/access_pb.js";
import { AccessService } from "../../gen/ota/v1/access_service_pb.js";
import { UpdatePin } from "../../gen/ota/v1/device_pb.js";
import { DeviceService } from "../../gen/ota/v1/device_service_pb.js";
import { FirmwareService } from "../../gen/ota/v1/firmware_service_pb.js";
import { DeviceUpdateState, UpdateAction } from "../../gen/ota/v1/rollout_pb.js";
import { RolloutService } from "../../gen/ota/v1/rollout_service_pb.js";
import type { RpcClient } from "../../src/client/rpc-client.ts";
import { newContent, publish } from "../support/door-clients.ts";
import { eventually } from "../support/eventually.ts";
import { PolledDevice } from "../support/polled-device.ts";
import { type CliResult, runCli } from "../support/run-cli.ts";
import { startTestService, type TestService } from "../support/service.ts";

// Every step is a process that loads the command line: some 0.3 s, but several on a machine that is busy.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

let service: TestService;
let rpc: RpcClient;
/** The rollouts' creator is not the one who runs the command line. */
let creator: RpcClient;
let operatorToken: string;

beforeAll(async () => {
  service = await startTestService({ settings: { DEVICE_OTA_RATE_LIMIT_UPDATE_CHECK: "off" } });
  rpc = service.client();
  const ada = { name: "ada", role: Role.OPERATOR };
  creator = service.client((await rpc.unary(AccessService.method.createToken, ada)).secret);
  const grace = { name: "grace", role: Role.OPERATOR };
  operatorToken = (await rpc.unary(AccessService.method.createToken, grace)).secret;
  const product = "thermostat-os";
  for (const version of ["1.0.0", "1.1.0", "1.2.0"]) {
    await publish(service, newContent(100), { product, version });
  }
});
afterAll(() => service[Symbol.asyncDispose]());

function run(...args: string[]): Promise<CliResult> {
  const env = { DEVICE_OTA_SERVER: service.grpcAddress, DEVICE_OTA_TOKEN: operatorToken };
  return runCli(args, { cwd: tmpdir(), env });
}

/** Runs with `--json`, expects success and returns the answer. */
async function ask(...args: string[]): Promise<Record<string, unknown>> {
  const { exitCode, stdout, stderr } = await run(...args, "--json");
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
  return JSON.parse(stdout) as Record<string, unknown>;
}

/** So many devices of a group, in the first ring. */
async function enrol(group: string, count: number): Promise<PolledDevice[]> {
  return await Promise.all(
    Array.from({ length: count }, async () => {
      const device = await PolledDevice.enrol(rpc, service.enrolmentKey);
      const { id } = device;
      const groups = { names: [group] };
      await rpc.unary(DeviceService.method.updateDevice, { id, groups, updatePin: UpdatePin.CANARY });
      await device.beat(service);
      return device;
    }),
  );
}

/** A rollout that its creator started. */
async function start(version: string, group: string, requireApproval = false): Promise<string> {
  const gate = {
    minSample: 1,
    minSuccessPercent: 0,
    soakDuration: durationFromMs(0),
    manual: true,
    requireApproval,
  };
  const { firmware } = await rpc.unary(FirmwareService.method.listFirmware, { version });
  const { rollout } = await creator.unary(RolloutService.method.createRollout, {
    firmwareId: firmware[0]?.id ?? "",
    targeting: { groups: [group] },
    policy: { verificationDuration: durationFromMs(0), failureThresholdPercent: 100 },
    rings: [
      { name: "canary", percent: 1, gate },
      { name: "all", percent: 100, gate },
    ],
  });
  const id = rollout?.id ?? "";
  await creator.unary(RolloutService.method.startRollout, { id });
  return id;
}

async function succeed(id: string, devices: readonly PolledDevice[]): Promise<void> {
  await Promise.all(devices.map((device) => device.update(service)));
  await eventually(async () => {
    await Promise.all(devices.map((device) => device.beat(service)));
    const { rollout } = await rpc.unary(RolloutService.method.getRollout, { id });
    expect(rollout?.rings[0]?.counters?.succeeded).toBe(BigInt(devices.length));
  });
  for (const device of devices) device.forget();
}

it("approves rings, once somebody else made the rollout", async () => {
  const id = await start("1.1.0", "nobody", true);
  const shown = await run("rollout", "status", id);
  expect(shown.stdout).toMatch(/awaiting approval/i);
  const approved = await ask("rollout", "approve", id, "--reason", "looks good");
  expect(approved).toMatchObject({ state: "ROLLOUT_STATE_RUNNING", awaitingApprovalRing: "all" });
  const [ring, unknown] = await Promise.all([
    ask("rollout", "approve", id, "--ring", "all"),
    run("rollout", "approve", id, "--ring", "nope"),
  ]);
  expect(ring["rings"]).toMatchObject([{ approver: expect.any(String) }, { approver: expect.any(String) }]);
  expect(unknown).toMatchObject({ exitCode: 2, stderr: expect.stringContaining("UNKNOWN_RING") });
  const own = await ask("rollout", "create", "thermostat-os@1.1.0", "--gate-approval");
  const started = await ask("rollout", "start", String(own["id"]));
  expect(started).toMatchObject({ state: "ROLLOUT_STATE_AWAITING_APPROVAL", awaitingApprovalRing: "canary" });
  expect(await run("rollout", "approve", String(own["id"]))).toMatchObject({
    exitCode: 4,
    stderr: expect.stringContaining("FOUR_EYES"),
  });
});

it("shows the defaults, and of a rollout's policy what is not as it would be by default", async () => {
  const window = "sat 02:00+4h Europe/Berlin";
  const unusual = ["--max-in-progress", "7", "--storage-factor", "0", "--window", window];
  unusual.push("--rollback-to", "thermostat-os@1.0.0");
  const [defaults, created] = await Promise.all([
    run("rollout", "defaults"),
    ask("rollout", "create", "thermostat-os@1.1.0", ...unusual),
  ]);
  expect(defaults.stdout).toMatch(/stops +over 10 % failed or missing\n/);
  expect(defaults.stdout).toMatch(/a device may take +6 h\n/);
  expect(defaults.stdout).toMatch(/canary +5 % +at least 1 finished, 90 % of them succeeded, for 10 min\n/);
  expect(defaults.stdout).not.toMatch(/a minute/);
  const { firmware } = await rpc.unary(FirmwareService.method.listFirmware, { version: "1.0.0" });
  expect(created["policy"]).toMatchObject({ maxInProgress: 7, rollbackFirmwareId: firmware[0]?.id });
  const shown = await run("rollout", "status", String(created["id"]));
  expect(shown.stdout).toMatch(/at once +at most 7\n/);
  expect(shown.stdout).toMatch(/free storage +any\n/);
  expect(shown.stdout).toMatch(/windows +Sat at 02:00 for 4 h \(Europe\/Berlin\)\n/);
  expect(shown.stdout).toMatch(/goes back to +[0-9a-f-]{36}\n/);
  expect(shown.stdout).not.toMatch(/crash loop|priority/);
});

it("previews a rollout, and explains it to a device", async () => {
  const [device] = await enrol("seen", 1);
  await eventually(async () => {
    const { preview } = {
      preview: await ask("rollout", "preview", "thermostat-os@1.1.0", "--group", "seen"),
    };
    expect(preview).toMatchObject({ targetedCount: "1", readyCount: "1" });
  });
  const id = await start("1.1.0", "seen");
  const [text, ofRollout, json, neither, unknown] = await Promise.all([
    run("rollout", "preview", "--rollout", id),
    run("rollout", "explain", device?.id ?? "", id),
    ask("rollout", "explain", device?.id ?? "", id),
    run("rollout", "preview"),
    run("rollout", "explain", "no-such-serial", id),
  ]);
  expect(text.stdout).toMatch(/targeted +1 device\n(?:.*\n)*ready now +1 device\n/);
  expect(text.stdout).toMatch(/rings +canary 1, all 0\n/);
  // It may have gone offline meanwhile.
  expect(text.stdout).toMatch(/canary +1 +1 +(?:1 +0 +0|0 +0 +1)\n/);
  expect(text.stderr).toContain("! ring all holds nobody who waits for the update, and passes at once\n");
  expect(ofRollout.stdout).toMatch(/offered +yes\n/);
  expect(ofRollout.stdout).toMatch(/\+ +groups +.*seen/);
  expect(json).toMatchObject({ offered: true, ring: "canary" });
  expect(neither).toMatchObject({ exitCode: 2, stderr: expect.stringContaining("firmware_id") });
  expect(unknown.exitCode).toBe(3);
});

it("lets a device try again, and rolls back a device, a ring, or all to a named version", async () => {
  const devices = await enrol("taken", 2);
  const [failed, well] = devices;
  if (failed === undefined || well === undefined) throw new Error("no device");
  const id = await start("1.1.0", "taken");
  await eventually(() => failed.expectOffer(service));
  await failed.report(service, DeviceUpdateState.FAILED);
  failed.forget();
  const [failures, health] = await Promise.all([
    run("rollout", "failures", id),
    run("rollout", "health", id),
  ]);
  expect(failures.stdout).toMatch(/^REASON +DEVICES\nNO_SPACE +1\n/);
  expect(health.stdout).toMatch(/verdict +not enough data\n/);
  const retried = await ask("rollout", "retry", id, failed.id, "--reason", "made room");
  expect(retried).toMatchObject({ deviceId: failed.id, failureReason: "NO_SPACE", attempt: 1 });
  await succeed(id, devices);

  const [both, again] = await Promise.all([
    run("rollout", "rollback", id, "--ring", "canary", "--device", well.id),
    run("rollout", "retry", id, well.id),
  ]);
  expect(both).toMatchObject({ exitCode: 2, stderr: expect.stringContaining("only one of") });
  expect(again).toMatchObject({ exitCode: 5, stderr: expect.stringContaining("ILLEGAL_TRANSITION") });
  const one = await ask("rollout", "rollback", id, "--device", well.id, "--reason", "hot");
  expect(one).toMatchObject({
    deviceId: well.id,
    action: "UPDATE_ACTION_ROLLBACK",
    toVersion: "1.0.0",
    effect: { rollbackCount: "1", message: "1 device goes back." },
  });
  expect(await ask("rollout", "rollback", id, "--ring", "canary")).toMatchObject({
    state: "ROLLOUT_STATE_PAUSED",
    rollback: { total: "2" },
    effect: { rollbackCount: "1" },
  });
  for (const device of devices) {
    const offer = await eventually(() => device.expectOffer(service));
    expect(offer).toMatchObject({ action: UpdateAction.ROLLBACK, version: "1.0.0" });
    await device.update(service);
    device.forget();
  }

  const next = await start("1.2.0", "taken");
  await succeed(next, devices);
  const named = await ask("rollout", "rollback", next, "--to", "thermostat-os@1.0.0");
  expect(named).toMatchObject({ state: "ROLLOUT_STATE_ROLLING_BACK" });
  const shown = await run("rollout", "devices", next, "--device", well.id);
  expect(shown.stdout).toMatch(/1\.2\.0.*1\.0\.0/);
  const { events } = await ask("audit", "list", "--resource", id);
  for (const [action, reason] of [
    ["rollout.retry_device", "made room"],
    ["rollout.rollback_device", "hot"],
    ["rollout.rollback_ring", ""],
  ])
    expect(events).toContainEqual(expect.objectContaining({ action, reason }));
});

it("keeps an integration's keys, and archives what is over", async () => {
  const key = ["--metadata", "ticket=OPS-7"];
  const made = await ask("rollout", "create", "thermostat-os@1.1.0", ...key, "--metadata", "run=a=b");
  const id = String(made["id"]);
  expect(made["metadata"]).toEqual({ ticket: "OPS-7", run: "a=b" });
  const [listed, none, early] = await Promise.all([
    ask("rollout", "list", ...key),
    ask("rollout", "list", "--metadata", "ticket=OPS-8"),
    run("rollout", "archive", id),
  ]);
  expect(listed["rollouts"]).toMatchObject([{ id }]);
  expect(none["rollouts"] ?? []).toEqual([]);
  expect(early).toMatchObject({ exitCode: 5, stderr: expect.stringContaining("ILLEGAL_TRANSITION") });
  const changes = ["--remove-metadata", "run", "--metadata", "ticket=OPS-9", "--name", "july"];
  expect(await ask("rollout", "update", id, ...changes)).toMatchObject({
    name: "july",
    metadata: { ticket: "OPS-9" },
  });
  await ask("rollout", "update", id, "--ring", "canary", "--metadata", "site=berlin");
  await ask("rollout", "abort", id);
  expect(await ask("rollout", "archive", id, "--reason", "done")).toHaveProperty("archiveTime");
  const [again, left, all, shown] = await Promise.all([
    run("rollout", "archive", id),
    run("rollout", "list"),
    run("rollout", "list", "--archived"),
    run("rollout", "status", id),
  ]);
  expect(again.stderr).toContain("Nothing changed");
  expect(left.stdout).not.toContain(id);
  expect(all.stdout).toMatch(new RegExp(`${id} .*aborted, archived`));
  expect(shown.stdout).toMatch(/metadata +ticket=OPS-9, canary: site=berlin\n/);
  expect(await ask("rollout", "unarchive", id)).not.toHaveProperty("archiveTime");
});

it("labels a device's update", async () => {
  const [device] = await enrol("labelled", 1);
  const id = await start("1.1.0", "labelled");
  await eventually(() => device?.expectOffer(service));
  const labelled = await ask("rollout", "label", id, device?.id ?? "", "--metadata", "order=4711");
  expect(labelled["metadata"]).toEqual({ order: "4711" });
  const [found, table] = await Promise.all([
    ask("rollout", "devices", id, "--metadata", "order=4711"),
    run("rollout", "devices", id),
  ]);
  expect(found["deviceUpdates"]).toMatchObject([{ deviceId: device?.id }]);
  expect(table.stdout).toMatch(/METADATA\n.*order=4711\n/);
});
