import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Duration } from "@bufbuild/protobuf/wkt";
import { durationFromMs, timestampFromDate } from "@bufbuild/protobuf/wkt";
import { HealthAction, type RolloutPolicySchema } from "../../../gen/ota/v1/rollout_pb.js";
import type { CreateRolloutRequestSchema } from "../../../gen/ota/v1/rollout_service_pb.js";

/** One ring as the form holds it. */
export interface RingForm {
  readonly name: string;
  readonly percent: number | string;
  readonly minSample: number | string;
  readonly minSuccessPercent: number | string;
  readonly soakMinutes: number | string;
  readonly manual: boolean;
  readonly requireNoWorseHealth: boolean;
  readonly requireApproval: boolean;
}

/** A maintenance window as the form holds it. */
export interface WindowForm {
  /** `1` for Monday to `7` for Sunday; none for every day. */
  readonly weekdays: string[];
  /** `HH:MM`. */
  readonly start: string;
  readonly hours: number | string;
  /** By its IANA name; empty for UTC. */
  readonly timeZone: string;
}

/** What the form for a new rollout holds. An empty number leaves the service its default. */
export interface RolloutForm {
  readonly firmwareId: string;
  readonly name: string;
  readonly deviceTypes: string[];
  readonly hardwareModels: string[];
  readonly groups: string[];
  readonly excludedGroups: string[];
  readonly canaryGroups: string[];
  readonly percent: number | string;
  readonly tags: string[];
  readonly versionRange: string;
  readonly filter: string;
  readonly rings: RingForm[];
  readonly failureThresholdPercent: number | string;
  readonly failureMinSample: number | string;
  readonly pauseOnFailure: boolean;
  readonly verificationMinutes: number | string;
  readonly deviceTimeoutHours: number | string;
  readonly maxInProgress: number | string;
  readonly offersPerMinute: number | string;
  readonly failureCountLimit: number | string;
  readonly crashLimit: number | string;
  /** Local date and time, as the browser's field has it; empty for at once. */
  readonly startTime: string;
  readonly priority: number | string;
  readonly maxRetries: number | string;
  readonly retryBackoffMinutes: number | string;
  readonly windows: WindowForm[];
  readonly maxMeteredMib: number | string;
  readonly storageFactor: number | string;
  readonly requireUserConsent: boolean;
  readonly allowDowngrade: boolean;
  readonly rollbackFirmwareId: string;
  /** A {@link HealthAction} as text. */
  readonly onWorseHealth: string;
  readonly healthAlpha: number | string;
}

/** The contract's own defaults, written out so that the operator sees what will happen. */
export function newRolloutForm(firmwareId: string): RolloutForm {
  return {
    firmwareId,
    name: "",
    deviceTypes: [],
    hardwareModels: [],
    groups: [],
    excludedGroups: [],
    canaryGroups: [],
    percent: 100,
    tags: [],
    versionRange: "",
    filter: "",
    rings: [ring("canary", 5), ring("early", 25), ring("broad", 75), ring("production", 100)],
    failureThresholdPercent: 10,
    failureMinSample: 5,
    pauseOnFailure: false,
    verificationMinutes: 5,
    deviceTimeoutHours: 6,
    maxInProgress: 10_000,
    offersPerMinute: "",
    failureCountLimit: "",
    crashLimit: 3,
    startTime: "",
    priority: 0,
    maxRetries: 0,
    retryBackoffMinutes: 10,
    windows: [],
    maxMeteredMib: "",
    storageFactor: 1.5,
    requireUserConsent: false,
    allowDowngrade: false,
    rollbackFirmwareId: "",
    onWorseHealth: String(HealthAction.UNSPECIFIED),
    healthAlpha: 0.01,
  };
}

/** A ring with the default gate. */
export function ring(name: string, percent: number): RingForm {
  return {
    name,
    percent,
    minSample: 1,
    minSuccessPercent: 90,
    soakMinutes: 10,
    manual: false,
    requireNoWorseHealth: false,
    requireApproval: false,
  };
}

/** A window on every night, in the operator's own time zone. */
export function nightlyWindow(): WindowForm {
  return {
    weekdays: [],
    start: "02:00",
    hours: 3,
    timeZone: Intl.DateTimeFormat().resolvedOptions().timeZone,
  };
}

/** What is wrong with the rings, in words; undefined if nothing is. */
export function ringsFault(rings: readonly RingForm[]): string | undefined {
  if (rings.length === 0) return "There must be at least one ring.";
  let before = 0;
  const names = new Set<string>();
  for (const { name, percent } of rings) {
    if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(name))
      return `“${name}” is no name for a ring: use letters, digits, dots, underscores and dashes.`;
    if (names.has(name)) return `Two rings are called ${name}.`;
    names.add(name);
    const share = Number(percent);
    if (!(share > before && share <= 100))
      return `The share of ${name} must lie above ${before} % and be at most 100 %.`;
    before = share;
  }
  return before === 100 ? undefined : "The last ring must reach 100 % of the targeted devices.";
}

/** The request that the form stands for. */
export function rolloutRequest(form: RolloutForm): MessageInitShape<typeof CreateRolloutRequestSchema> {
  return {
    firmwareId: form.firmwareId,
    name: form.name.trim(),
    targeting: {
      deviceTypes: form.deviceTypes,
      hardwareModels: form.hardwareModels,
      groups: form.groups,
      excludedGroups: form.excludedGroups,
      canaryGroups: form.canaryGroups,
      ...given("percent", form.percent),
      tags: form.tags,
      currentVersionRange: form.versionRange.trim(),
      filter: form.filter.trim(),
    },
    policy: rolloutPolicy(form),
    rings: form.rings.map((each) => ({
      name: each.name,
      percent: Number(each.percent),
      gate: {
        ...given("minSample", each.minSample),
        ...given("minSuccessPercent", each.minSuccessPercent),
        ...length("soakDuration", each.soakMinutes),
        manual: each.manual,
        requireNoWorseHealth: each.requireNoWorseHealth,
        requireApproval: each.requireApproval,
      },
    })),
  };
}

function rolloutPolicy(form: RolloutForm): MessageInitShape<typeof RolloutPolicySchema> {
  return {
    ...given("failureThresholdPercent", form.failureThresholdPercent),
    ...given("failureMinSample", form.failureMinSample),
    ...given("failureCountLimit", form.failureCountLimit),
    ...length("verificationDuration", form.verificationMinutes),
    ...length("deviceTimeout", form.deviceTimeoutHours, 60),
    ...given("crashLimit", form.crashLimit),
    ...given("maxInProgress", form.maxInProgress),
    ...given("offersPerMinute", form.offersPerMinute),
    ...(form.startTime === "" ? {} : { startTime: timestampFromDate(new Date(form.startTime)) }),
    ...given("priority", form.priority),
    ...given("maxRetries", form.maxRetries),
    ...length("retryBackoff", form.retryBackoffMinutes),
    ...given("storageFactor", form.storageFactor),
    ...given("healthAlpha", form.healthAlpha),
    ...(form.maxMeteredMib === ""
      ? {}
      : { maxMeteredBytes: BigInt(Math.round(Number(form.maxMeteredMib) * bytesOfMib)) }),
    maintenanceWindows: form.windows.map(({ weekdays, start, hours, timeZone }) => ({
      weekdays: weekdays.map(Number).toSorted((a, b) => a - b),
      start,
      ...length("duration", hours, 60),
      timeZone: timeZone.trim(),
    })),
    pauseOnFailure: form.pauseOnFailure,
    requireUserConsent: form.requireUserConsent,
    allowDowngrade: form.allowDowngrade,
    rollbackFirmwareId: form.rollbackFirmwareId,
    onWorseHealth: Number(form.onWorseHealth) as HealthAction,
  };
}

const bytesOfMib = 1_048_576;

/** The field with its number; nothing if it is left empty, so that the service's default holds, and never 0. */
function given<Name extends string>(name: Name, value: number | string): { [name in Name]?: number } {
  return value === "" ? {} : ({ [name]: Number(value) } as { [name in Name]?: number });
}

/** The field with its length of time, of a number of units of so many minutes; nothing if it is left empty. */
function length<Name extends string>(
  name: Name,
  value: number | string,
  unitMinutes = 1,
): { [name in Name]?: Duration } {
  if (value === "") return {};
  const duration = durationFromMs(Math.round(Number(value) * unitMinutes * 60_000));
  return { [name]: duration } as { [name in Name]?: Duration };
}
