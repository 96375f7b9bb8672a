import {
  DeviceUpdateState,
  HealthVerdict,
  type RingSpec,
  RingState,
  type Rollout,
  RolloutState,
} from "../../../gen/ota/v1/rollout_pb.js";
import { counted, percent } from "../ui/format.ts";
import type { Tone } from "../ui/status.tsx";

interface Words {
  readonly tone: Tone;
  readonly text: string;
  /** Whether it goes on by itself. */
  readonly active?: true;
}

/** What a ring reaches with those before it. */
export function ringReach({ devices, percent: share }: Pick<RingSpec, "devices" | "percent">): string {
  return devices > 0 ? counted(devices, "device") : `${percent(share)} of the targeted devices`;
}

/** How a rollout's state reads. */
export const rolloutStates: Readonly<Record<RolloutState, Words>> = {
  [RolloutState.UNSPECIFIED]: { tone: "idle", text: "Unknown" },
  [RolloutState.DRAFT]: { tone: "idle", text: "Draft" },
  [RolloutState.AWAITING_APPROVAL]: { tone: "warn", text: "Awaiting approval" },
  [RolloutState.SCHEDULED]: { tone: "busy", text: "Scheduled" },
  [RolloutState.RUNNING]: { tone: "busy", text: "Running", active: true },
  [RolloutState.PAUSED]: { tone: "warn", text: "Paused" },
  [RolloutState.ROLLING_BACK]: { tone: "bad", text: "Rolling back", active: true },
  [RolloutState.ROLLED_BACK]: { tone: "bad", text: "Rolled back" },
  [RolloutState.COMPLETED]: { tone: "good", text: "Completed" },
  [RolloutState.ABORTED]: { tone: "idle", text: "Aborted" },
};

/** How a rollout's state reads, and whether it is archived. */
export function rolloutStatus({ state, archiveTime }: Rollout): Words {
  const words = rolloutStates[state];
  return archiveTime === undefined ? words : { ...words, text: `${words.text}, archived` };
}

/** How a ring's state reads. */
export const ringStates: Readonly<Record<RingState, Words>> = {
  [RingState.UNSPECIFIED]: { tone: "idle", text: "Unknown" },
  [RingState.WAITING]: { tone: "idle", text: "Waiting" },
  [RingState.OPEN]: { tone: "busy", text: "Open", active: true },
  [RingState.PASSED]: { tone: "good", text: "Passed" },
  [RingState.FAILED]: { tone: "bad", text: "Failed" },
};

/** How the state of one device's update reads. */
export const deviceUpdateStates: Readonly<Record<DeviceUpdateState, Words>> = {
  [DeviceUpdateState.UNSPECIFIED]: { tone: "idle", text: "Unknown" },
  [DeviceUpdateState.OFFERED]: { tone: "busy", text: "Offered" },
  [DeviceUpdateState.DOWNLOADING]: { tone: "busy", text: "Downloading" },
  [DeviceUpdateState.DOWNLOADED]: { tone: "busy", text: "Downloaded" },
  [DeviceUpdateState.INSTALLING]: { tone: "busy", text: "Installing" },
  [DeviceUpdateState.REBOOTING]: { tone: "busy", text: "Rebooting" },
  [DeviceUpdateState.VERIFYING]: { tone: "busy", text: "Verifying" },
  [DeviceUpdateState.SUCCEEDED]: { tone: "good", text: "Succeeded" },
  [DeviceUpdateState.FAILED]: { tone: "bad", text: "Failed" },
  [DeviceUpdateState.TIMED_OUT]: { tone: "bad", text: "Timed out" },
  [DeviceUpdateState.SUPERSEDED]: { tone: "idle", text: "Superseded" },
  [DeviceUpdateState.CANCELLED]: { tone: "idle", text: "Cancelled" },
  [DeviceUpdateState.ROLLED_BACK]: { tone: "warn", text: "Rolled back" },
};

/** How a health verdict reads. */
export const healthVerdicts: Readonly<Record<HealthVerdict, Words>> = {
  [HealthVerdict.UNSPECIFIED]: { tone: "idle", text: "Not judged" },
  [HealthVerdict.NOT_ENOUGH_DATA]: { tone: "idle", text: "Not enough data" },
  [HealthVerdict.NO_WORSE]: { tone: "good", text: "No worse" },
  [HealthVerdict.WORSE]: { tone: "bad", text: "Worse" },
};

/** Rollouts that may still change by themselves or wait for a person. */
export const activeStates: readonly RolloutState[] = [
  RolloutState.AWAITING_APPROVAL,
  RolloutState.SCHEDULED,
  RolloutState.RUNNING,
  RolloutState.PAUSED,
  RolloutState.ROLLING_BACK,
];

/** Rollouts that are over. */
export const overStates: readonly RolloutState[] = [
  RolloutState.COMPLETED,
  RolloutState.ROLLED_BACK,
  RolloutState.ABORTED,
];

/** Its name, or what it brings. */
export function rolloutTitle({ name, product, version }: Rollout): string {
  return name === "" ? `${product} ${version}` : name;
}

/** The sums over all rings. */
export function rolloutTotals({ rings }: Rollout) {
  let offered = 0;
  let inProgress = 0;
  let missing = 0;
  let succeeded = 0;
  let failed = 0;
  for (const { counters } of rings) {
    offered += Number(counters?.offered ?? 0n);
    inProgress += Number(counters?.inProgress ?? 0n);
    missing += Number(counters?.missing ?? 0n);
    succeeded += Number(counters?.succeeded ?? 0n);
    failed += Number(counters?.failed ?? 0n);
  }
  return { offered, inProgress, succeeded, failed, missing };
}
