import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Duration } from "@bufbuild/protobuf/wkt";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
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

/** What the form for a new rollout holds. */
export interface RolloutForm {
  readonly firmwareId: string;
  readonly name: string;
  readonly deviceTypes: string[];
  readonly hardwareModels: string[];
  readonly groups: string[];
  readonly excludedGroups: string[];
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
      tags: form.tags,
      currentVersionRange: form.versionRange.trim(),
      filter: form.filter.trim(),
    },
    policy: {
      failureThresholdPercent: Number(form.failureThresholdPercent),
      failureMinSample: Number(form.failureMinSample),
      pauseOnFailure: form.pauseOnFailure,
      verificationDuration: minutes(form.verificationMinutes),
      deviceTimeout: minutes(Number(form.deviceTimeoutHours) * 60),
      maxInProgress: Number(form.maxInProgress),
      ...(form.offersPerMinute === "" ? {} : { offersPerMinute: Number(form.offersPerMinute) }),
    },
    rings: form.rings.map((each) => ({
      name: each.name,
      percent: Number(each.percent),
      gate: {
        minSample: Number(each.minSample),
        minSuccessPercent: Number(each.minSuccessPercent),
        soakDuration: minutes(each.soakMinutes),
        manual: each.manual,
        requireNoWorseHealth: each.requireNoWorseHealth,
        requireApproval: each.requireApproval,
      },
    })),
  };
}

function minutes(value: number | string): Duration {
  return durationFromMs(Math.round(Number(value) * 60_000));
}
