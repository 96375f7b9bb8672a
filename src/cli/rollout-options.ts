import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Duration, Timestamp } from "@bufbuild/protobuf/wkt";
import { type Command, InvalidArgumentError } from "commander";
import {
  HealthAction,
  type RingSpecSchema,
  type RolloutPolicySchema,
  type RolloutTargetingSchema,
} from "../../gen/ota/v1/rollout_pb.js";
import { collectWindows, type MaintenanceWindowInit } from "./maintenance-window.ts";
import {
  collectList,
  parseBytes,
  parseCount,
  parseDuration,
  parseEnumValue,
  parseFactor,
  parsePercent,
  parseRings,
  parseTime,
} from "./parse.ts";

/** How a new rollout shall proceed, as the options of `firmware deploy` and `rollout create` say it. */
export interface RolloutOptions {
  readonly deviceType?: string[];
  readonly model?: string[];
  readonly group?: string[];
  readonly fromVersions?: string;
  readonly tag?: string[];
  readonly filter?: string;
  readonly excludeGroup?: string[];
  readonly canaryGroup?: string[];
  readonly percent?: number;
  readonly startAt?: Timestamp;
  readonly offersPerMinute?: number;
  readonly priority?: number;
  readonly maxRetries?: number;
  readonly retryBackoff?: Duration;
  readonly maxMetered?: bigint;
  readonly storageFactor?: number;
  readonly window?: MaintenanceWindowInit[];
  readonly userConsent?: boolean;
  readonly allowDowngrade?: boolean;
  readonly rings?: { name: string; percent: number }[];
  readonly gateMinSample?: number;
  readonly gateSuccess?: number;
  readonly gateSoak?: Duration;
  readonly gateManual?: boolean;
  readonly gateApproval?: boolean;
  readonly gateHealth?: boolean;
  readonly failureThreshold?: number;
  readonly failureMinSample?: number;
  readonly failureLimit?: number;
  readonly pauseOnFailure?: boolean;
  readonly onWorseHealth?: HealthAction;
  readonly healthAlpha?: number;
  readonly verifyFor?: Duration;
  readonly deviceTimeout?: Duration;
  readonly crashLimit?: number;
  readonly maxInProgress?: number;
}

/** The parts of a request that create a rollout. */
export interface RolloutParts {
  readonly targeting?: MessageInitShape<typeof RolloutTargetingSchema>;
  readonly policy?: MessageInitShape<typeof RolloutPolicySchema>;
  readonly rings?: MessageInitShape<typeof RingSpecSchema>[];
}

/** Adds the options that {@link rolloutParts} reads. */
export function addRolloutOptions(command: Command): Command {
  const million = parseCount(1, 1_000_000);
  return command
    .optionsGroup("Whom to reach (by default every device that the firmware fits):")
    .option("--device-type <names>", "only these device types", collectList)
    .option("--model <names>", "only these hardware models", collectList)
    .option("--group <names>", "only devices in one of these groups", collectList)
    .option("--from-versions <range>", "only devices whose version lies in this range, e.g. '>=1.2.0 <2.0.0'")
    .option("--tag <names>", "only devices with one of these tags", collectList)
    .option("--filter <filter>", "only devices that match this filter, e.g. 'metadata.site = berlin'")
    .option("--exclude-group <names>", "never devices in one of these groups", collectList)
    .option("--canary-group <names>", "devices in one of these groups are in the first ring", collectList)
    .option("--percent <percent>", "only this share of them (default: 100)", parsePercent)
    .option("--allow-downgrade", "also devices that run a newer version")
    .optionsGroup("When, and how fast:")
    .option(
      "--start-at <time>",
      "open the first ring then, not before: 2026-12-31T20:00:00Z or 2h",
      parseTime,
    )
    .option("--offers-per-minute <count>", "the most offers in a minute (default: no limit)", million)
    .option(
      "--priority <number>",
      "which rollout goes first: -100 to 100 (default: 0)",
      parseCount(-100, 100),
    )
    .option(
      "--window <window>",
      "update only then, e.g. 'sat,sun 02:00+4h Europe/Berlin'; repeatable",
      collectWindows,
    )
    .option("--user-consent", "only when the device's user agrees")
    .option("--max-metered <size>", "over cellular, LPWAN or satellite only up to this size", parseBytes)
    .option(
      "--storage-factor <factor>",
      "free storage that is needed, times the size (default: 1.5)",
      parseFactor,
    )
    .option("--max-retries <count>", "further tries of a device that failed (default: 0)", parseCount(0, 10))
    .option("--retry-backoff <duration>", "wait before the first of them (default: 10m)", parseDuration)
    .optionsGroup("Rings and their gates (default: canary=5,early=25,broad=75,production=100):")
    .option("--rings <rings>", "rings with the share that each reaches, in percent", parseRings)
    .option(
      "--gate-min-sample <count>",
      "finished devices that a ring needs to pass (default: 1)",
      parseCount(0, 1_000_000),
    )
    .option("--gate-success <percent>", "share of them that must have succeeded (default: 90)", parsePercent)
    .option("--gate-soak <duration>", "how long that must hold (default: 10m)", parseDuration)
    .option("--gate-manual", "wait for `rollout promote` even when the gate holds")
    .option("--gate-approval", "wait for `rollout approve` by somebody else before a ring opens")
    .option("--gate-health", "pass only once updated devices are known to fare no worse than the others")
    .optionsGroup("When to take it back:")
    .option("--failure-threshold <percent>", "roll back above this share of failures", parsePercent)
    .option(
      "--failure-min-sample <count>",
      "but only once so many devices of a ring have finished (default: 5)",
      million,
    )
    .option("--failure-limit <count>", "roll back at so many failures whatever their share", million)
    .option("--pause-on-failure", "pause instead of rolling back")
    .option(
      "--on-worse-health <action>",
      "what to do when updated devices fare worse: none, pause or rollback",
      parseHealthAction,
    )
    .option(
      "--health-alpha <chance>",
      "the chance of a false alarm over the whole rollout, 0.0001 to 0.2 (default: 0.01)",
      parseHealthAlpha,
    )
    .optionsGroup("How a device proves itself:")
    .option(
      "--verify-for <duration>",
      "healthy heartbeats on the new version for so long (default: 5m)",
      parseDuration,
    )
    .option(
      "--device-timeout <duration>",
      "time from offer to proof; silence past it is a failure",
      parseDuration,
    )
    .option(
      "--crash-limit <count>",
      "crashes while it proves itself that make a failure (default: 3)",
      parseCount(1, 1000),
    )
    .option("--max-in-progress <count>", "devices that may be at it at once (default: 10000)", million);
}

/** Turns the options into the parts of a request; parts that no option touches are left to the service's defaults. */
export function rolloutParts(options: RolloutOptions): RolloutParts {
  const targeting = {
    deviceTypes: options.deviceType ?? [],
    hardwareModels: options.model ?? [],
    groups: options.group ?? [],
    currentVersionRange: options.fromVersions ?? "",
    tags: options.tag ?? [],
    filter: options.filter ?? "",
    excludedGroups: options.excludeGroup ?? [],
    canaryGroups: options.canaryGroup ?? [],
    ...defined({ percent: options.percent }),
  };
  const policy = defined({
    failureThresholdPercent: options.failureThreshold,
    failureMinSample: options.failureMinSample,
    failureCountLimit: options.failureLimit,
    verificationDuration: options.verifyFor,
    deviceTimeout: options.deviceTimeout,
    crashLimit: options.crashLimit,
    maxInProgress: options.maxInProgress,
    pauseOnFailure: options.pauseOnFailure,
    onWorseHealth: options.onWorseHealth,
    healthAlpha: options.healthAlpha,
    startTime: options.startAt,
    offersPerMinute: options.offersPerMinute,
    priority: options.priority,
    maxRetries: options.maxRetries,
    retryBackoff: options.retryBackoff,
    maxMeteredBytes: options.maxMetered,
    storageFactor: options.storageFactor,
    maintenanceWindows: options.window,
    requireUserConsent: options.userConsent,
    allowDowngrade: options.allowDowngrade,
  });
  const gate = gateOf(options);
  const rings = options.rings ?? (gate === undefined ? undefined : defaultRings);
  const targeted = Object.values(targeting).some((value) => typeof value === "number" || value.length > 0);
  return {
    ...(targeted ? { targeting } : {}),
    ...(Object.keys(policy).length > 0 ? { policy } : {}),
    ...(rings === undefined
      ? {}
      : { rings: rings.map((ring) => (gate === undefined ? ring : { ...ring, gate })) }),
  };
}

/** The service's own default rings, needed here when only their gate is changed. */
const defaultRings = [
  { name: "canary", percent: 5 },
  { name: "early", percent: 25 },
  { name: "broad", percent: 75 },
  { name: "production", percent: 100 },
];

/** The gate that the options change; the contract's defaults hold for the rest. */
function gateOf(options: RolloutOptions) {
  const gate = defined({
    minSample: options.gateMinSample,
    minSuccessPercent: options.gateSuccess,
    soakDuration: options.gateSoak,
    manual: options.gateManual,
    requireApproval: options.gateApproval,
    requireNoWorseHealth: options.gateHealth,
  });
  return Object.keys(gate).length === 0 ? undefined : gate;
}

function parseHealthAction(text: string): HealthAction {
  const [action = HealthAction.UNSPECIFIED] = parseEnumValue(HealthAction)(text);
  return action;
}

function parseHealthAlpha(text: string): number {
  const alpha = Number(text);
  if (text.trim() === "" || !(alpha >= 0.0001 && alpha <= 0.2))
    throw new InvalidArgumentError("Write a number from 0.0001 to 0.2.");
  return alpha;
}

/** An object without the members that are undefined. */
function defined<T extends object>(members: T): { [K in keyof T]?: NonNullable<T[K]> } {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: NonNullable<T[K]>;
  };
}
