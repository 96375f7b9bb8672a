import { randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { DescMessage, DescMethodUnary, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import type { AuditEvent } from "../../../gen/ota/v1/access_pb.js";
import { AccessService } from "../../../gen/ota/v1/access_service_pb.js";
import {
  DeviceService,
  type GetDeviceStatusOverviewResponse,
} from "../../../gen/ota/v1/device_service_pb.js";
import { FirmwareService } from "../../../gen/ota/v1/firmware_service_pb.js";
import { HeartbeatService } from "../../../gen/ota/v1/heartbeat_service_pb.js";
import {
  type DeviceUpdate,
  DeviceUpdateState,
  type Rollout,
  RolloutState,
  UpdateAction,
} from "../../../gen/ota/v1/rollout_pb.js";
import { RolloutService } from "../../../gen/ota/v1/rollout_service_pb.js";
import type { FleetSimulator } from "../../agent/fleet-simulator.ts";
import type { RpcClient } from "../../client/rpc-client.ts";
import { type SigningKeyPair, signManifest } from "../../manifest/signature.ts";
import { CliError, exitCodes } from "../failure.ts";
import { digestFile } from "../firmware-file.ts";
import { uploadFirmware } from "../firmware-upload.ts";
import { readPages } from "../paging.ts";
import { isOver } from "../rollout-view.ts";
import type { Evidence } from "./demo-checks.ts";
import type { DemoView, Scene } from "./demo-view.ts";
import {
  badVersion,
  brickingVersion,
  deviceType,
  goodVersion,
  product,
  type StoryPlan,
} from "./story-plan.ts";

/** Size of the firmware files: random bytes, which nothing on the way can compress. */
const firmwareBytes = 4 * 1024 * 1024;

/** The longest that one act may take; a slower one has failed, and the checks say in what. */
const actTimeoutMs = 120_000;

/** How often the picture is renewed. */
const frameMs = 200;

/** How often the fleet's state is asked for while an act settles. */
const overviewIntervalMs = 250;

/** What the story is played with. */
export interface Stage {
  readonly rpc: RpcClient;
  readonly fleet: FleetSimulator;
  readonly view: DemoView;
  readonly plan: StoryPlan;
  readonly devices: number;
  readonly signingKey: SigningKeyPair;
  /** Folder for the firmware files. */
  readonly folder: string;
  readonly startedAtMs: number;
  readonly signal: AbortSignal;
}

/** Plays the acts and returns what the service then answers about them. */
export async function playStory(stage: Stage): Promise<Evidence> {
  const { view, plan } = stage;
  view.act(`Act 1: ${product} ${goodVersion}, a good update`);
  const good = await ship(stage, goodVersion, plan.text);
  const goodOverview = await untilFleet(
    stage,
    good.id,
    (overview) => runs(overview, goodVersion) === stage.devices,
  );

  view.act(`Act 2: ${product} ${badVersion}, which crashes on a third of the devices`);
  const bad = await ship(stage, badVersion, "in the same way");
  const badOverview = await untilFleet(
    stage,
    bad.id,
    (overview) => runs(overview, goodVersion) === stage.devices && online(overview) === stage.devices,
  );

  view.act(`Act 3: ${product} ${brickingVersion}, which bricks every device that installs it`);
  const bricking = await ship(
    stage,
    brickingVersion,
    `in the same way; ${plan.silenceText}`,
    plan.silencePolicy,
  );
  return collectEvidence(stage, {
    goodId: good.id,
    goodOverview,
    badId: bad.id,
    badOverview,
    brickingId: bricking.id,
  });
}

/** Creates, uploads, signs and deploys a version, and follows its rollout until it is over or takes back what it did. */
async function ship(
  stage: Stage,
  version: string,
  words: string,
  policy = stage.plan.policy,
): Promise<Rollout> {
  const { view, plan } = stage;
  const id = await publish(stage, version);
  view.say(`  created, uploaded (${firmwareBytes / 1024 / 1024} MiB), signed and released ${version}`);
  const { rollout } = await call(stage, FirmwareService.method.deployFirmware, {
    id,
    rings: plan.rings,
    policy,
  });
  if (rollout === undefined) throw new CliError(exitCodes.failure, "the service answered without a rollout");
  view.say(`  deployed: ${words}`);
  view.say();
  return followRollout(stage, rollout, version === brickingVersion ? isStopped : isOver);
}

async function publish(stage: Stage, version: string): Promise<string> {
  const { rpc, folder, signingKey, signal } = stage;
  const path = join(folder, `${product}-${version}.bin`);
  await writeFile(path, randomBytes(firmwareBytes));
  const { sha256, sizeBytes } = await digestFile(path, signal);
  const { firmware } = await call(stage, FirmwareService.method.createFirmware, {
    product,
    version,
    deviceTypes: [deviceType],
    sha256,
    sizeBytes: BigInt(sizeBytes),
    minBatteryPercent: 10,
    releaseNotes: `Demo release ${version}.`,
  });
  const id = firmware?.id ?? "";
  await uploadFirmware({ rpc, firmwareId: id, path, sizeBytes, signal, onProgress: () => undefined });
  const { manifest } = await call(stage, FirmwareService.method.getFirmwareManifest, { id });
  const signature = signManifest(signingKey.privateKeyPem, manifest);
  await call(stage, FirmwareService.method.signFirmware, {
    id,
    manifest,
    keyId: signingKey.keyId,
    signature,
  });
  return id;
}

/** What is bricked does not come back, so that a rollback waits for it; nobody else is offered it any more. */
function isStopped(rollout: Rollout): boolean {
  return isOver(rollout) || rollout.state === RolloutState.ROLLING_BACK;
}

/** Follows a rollout by the service's own watch, while the picture is renewed a few times a second. */
async function followRollout(
  stage: Stage,
  first: Rollout,
  isDone: (rollout: Rollout) => boolean,
): Promise<Rollout> {
  let rollout = first;
  using _frames = renewPicture(stage, () => rollout);
  const limit = AbortSignal.timeout(actTimeoutMs);
  const watch = stage.rpc.serverStream(
    RolloutService.method.watchRollout,
    { id: first.id },
    { signal: AbortSignal.any([stage.signal, limit]) },
  );
  try {
    for await (const update of watch) {
      rollout = update.rollout ?? rollout;
      if (isDone(rollout)) break;
    }
  } catch (error) {
    // Too slow is a failed claim, with its numbers, not a crash of the demo.
    if (!limit.aborted) throw error;
  }
  stage.signal.throwIfAborted();
  return rollout;
}

/** Waits until the service's overview of the fleet is as expected; returns the last one in any case. */
async function untilFleet(
  stage: Stage,
  rolloutId: string,
  holds: (overview: GetDeviceStatusOverviewResponse) => boolean,
): Promise<GetDeviceStatusOverviewResponse> {
  const deadlineMs = performance.now() + actTimeoutMs;
  let rollout = await getRollout(stage, rolloutId);
  using _frames = renewPicture(stage, () => rollout);
  for (;;) {
    const overview = await call(stage, DeviceService.method.getDeviceStatusOverview, {});
    rollout = await getRollout(stage, rolloutId);
    const settled = rollout.rings.every(({ counters }) => (counters?.inProgress ?? 0n) === 0n);
    if ((settled && holds(overview)) || performance.now() > deadlineMs) return overview;
    await delay(overviewIntervalMs, undefined, { signal: stage.signal });
  }
}

async function collectEvidence(
  stage: Stage,
  parts: {
    readonly goodId: string;
    readonly goodOverview: GetDeviceStatusOverviewResponse;
    readonly badId: string;
    readonly badOverview: GetDeviceStatusOverviewResponse;
    readonly brickingId: string;
  },
): Promise<Evidence> {
  const badUpdates = await listUpdates(stage, parts.badId);
  const failed = badUpdates.find(
    ({ action, state }) => action === UpdateAction.INSTALL && state === DeviceUpdateState.FAILED,
  );
  const { heartbeats } =
    failed === undefined
      ? { heartbeats: [] }
      : await call(stage, HeartbeatService.method.listHeartbeats, {
          deviceId: failed.deviceId,
          pageSize: 200,
        });
  return {
    devices: stage.devices,
    good: {
      rollout: await getRollout(stage, parts.goodId),
      updates: await listUpdates(stage, parts.goodId),
      overview: parts.goodOverview,
    },
    bad: {
      rollout: await getRollout(stage, parts.badId),
      updates: badUpdates,
      overview: parts.badOverview,
      audit: await listDecisions(stage, parts.badId),
      crashedHeartbeats: heartbeats,
    },
    bricking: {
      rollout: await getRollout(stage, parts.brickingId),
      updates: await listUpdates(stage, parts.brickingId),
      audit: await listDecisions(stage, parts.brickingId),
    },
  };
}

async function listDecisions(stage: Stage, resourceId: string): Promise<AuditEvent[]> {
  const page = { resourceId, pageSize: 100 };
  return (await call(stage, AccessService.method.listAuditEvents, page)).events;
}

async function getRollout(stage: Stage, id: string): Promise<Rollout> {
  const { rollout } = await call(stage, RolloutService.method.getRollout, { id });
  if (rollout === undefined) throw new CliError(exitCodes.failure, "the service answered without a rollout");
  return rollout;
}

async function listUpdates(stage: Stage, rolloutId: string): Promise<DeviceUpdate[]> {
  const { items } = await readPages(Number.MAX_SAFE_INTEGER, async (page) => {
    const answer = await call(stage, RolloutService.method.listDeviceUpdates, { rolloutId, ...page });
    return { items: answer.deviceUpdates, nextPageToken: answer.nextPageToken };
  });
  return items;
}

function call<I extends DescMessage, O extends DescMessage>(
  stage: Stage,
  method: DescMethodUnary<I, O>,
  request: MessageInitShape<I>,
): Promise<MessageShape<O>> {
  return stage.rpc.unary(method, request, { signal: stage.signal, timeoutMs: actTimeoutMs });
}

/** Renews the picture until it is disposed of; the last one stays. */
function renewPicture(stage: Stage, rollout: () => Rollout): Disposable {
  const rate = heartbeatRate(stage.fleet);
  const draw = (isLast: boolean) => stage.view.show(sceneOf(stage, rollout(), rate()), isLast);
  const timer = setInterval(() => draw(false), frameMs);
  return {
    [Symbol.dispose]: () => {
      clearInterval(timer);
      draw(true);
    },
  };
}

function sceneOf(stage: Stage, rollout: Rollout, heartbeatsPerSecond: number): Scene {
  const { online: streaming, byVersion, crashes } = stage.fleet.snapshot();
  return {
    rollout,
    devices: stage.devices,
    online: streaming,
    versions: byVersion,
    heartbeatsPerSecond,
    crashes,
    elapsedMs: performance.now() - stage.startedAtMs,
  };
}

/** Heartbeats per second that the service acknowledged, measured over the last second. */
function heartbeatRate(fleet: FleetSimulator): () => number {
  let since = { atMs: performance.now(), heartbeats: fleet.snapshot().heartbeats };
  let rate = 0;
  return () => {
    const nowMs = performance.now();
    if (nowMs - since.atMs >= 1000) {
      const { heartbeats } = fleet.snapshot();
      rate = Math.max(0, Math.round(((heartbeats - since.heartbeats) * 1000) / (nowMs - since.atMs)));
      since = { atMs: nowMs, heartbeats };
    }
    return rate;
  };
}

function runs(overview: GetDeviceStatusOverviewResponse, version: string): number {
  return Number(overview.firmwareVersions.find(({ name }) => name === version)?.count ?? 0n);
}

function online(overview: GetDeviceStatusOverviewResponse): number {
  return Number(overview.onlineCount);
}
