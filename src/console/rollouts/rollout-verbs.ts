import type { DescMethodUnary } from "@bufbuild/protobuf";
import { RemedyAction } from "../../../gen/ota/v1/remedy_pb.js";
import { RingState, type Rollout, RolloutState } from "../../../gen/ota/v1/rollout_pb.js";
import { RolloutService } from "../../../gen/ota/v1/rollout_service_pb.js";
import { counted } from "../ui/format.ts";
import { ringReach, rolloutTitle, rolloutTotals } from "../words/rollout-words.ts";

/** Something that a person can do to a rollout. */
export interface RolloutVerb {
  readonly name: string;
  readonly method: DescMethodUnary;
  /** What the request says beside id and reason. */
  readonly input: (rollout: Rollout) => Record<string, unknown>;
  readonly label: (rollout: Rollout) => string;
  readonly question: (rollout: Rollout) => string;
  /** What it will do, one sentence each. */
  readonly consequences: (rollout: Rollout) => readonly string[];
  /** What must be typed first, for what cannot be undone. */
  readonly typed?: (rollout: Rollout) => string;
  /** After "Could not". */
  readonly doing: string;
  readonly withReason: boolean;
  /** Whether it is what one mostly comes to do in this state. */
  readonly isMain: boolean;
}

/**
 * What a rollout's state allows (the service has the last word), the usual act first. Approval is not offered to the
 * rollout's creator: four eyes.
 */
export function verbsFor(rollout: Rollout, isCreator = false): readonly RolloutVerb[] {
  const verbs = stateVerbs(rollout).filter((verb) => !isWayOut(rollout) || !notForWaysOut.has(verb));
  return awaitsApproval(rollout) && !isCreator ? [approve, ...verbs] : verbs;
}

/** Whether it leads devices away from a recalled version, for as long as that is recalled. */
export function isWayOut({ recalledVersion }: Rollout): boolean {
  return recalledVersion !== "";
}

/** Whether a rollout waits for a person to approve it, in its state. */
export function awaitsApproval({ state, awaitingApprovalRing }: Rollout): boolean {
  if (state === RolloutState.AWAITING_APPROVAL) return true;
  return awaitingApprovalRing !== "" && approvableStates.has(state);
}

const approvableStates: ReadonlySet<RolloutState> = new Set([
  RolloutState.SCHEDULED,
  RolloutState.RUNNING,
  RolloutState.PAUSED,
]);

/** Whether devices and rings of a rollout can be rolled back, or tried again, one by one. */
export function canRollBackParts({ state, archiveTime }: Rollout): boolean {
  return archiveTime === undefined && partStates.has(state);
}

const partStates: ReadonlySet<RolloutState> = new Set([
  RolloutState.RUNNING,
  RolloutState.PAUSED,
  RolloutState.COMPLETED,
]);

function stateVerbs(rollout: Rollout): readonly RolloutVerb[] {
  if (rollout.archiveTime !== undefined) return [unarchive];
  switch (rollout.state) {
    case RolloutState.DRAFT:
      return [start, abort];
    case RolloutState.AWAITING_APPROVAL:
      return [abort];
    case RolloutState.SCHEDULED:
      return [pause, abort];
    case RolloutState.RUNNING:
      return [...(canPromote(rollout) ? [promote] : []), pause, rollback, abort];
    case RolloutState.PAUSED:
      return [resume, rollback, abort];
    case RolloutState.ROLLING_BACK:
      return [abort];
    case RolloutState.COMPLETED:
      return [rollback, abort, archive];
    case RolloutState.ROLLED_BACK:
    case RolloutState.ABORTED:
      return [archive];
    case RolloutState.UNSPECIFIED:
      return [];
  }
}

const { method } = RolloutService;

const start: RolloutVerb = {
  name: "start",
  method: method.startRollout,
  input: () => ({ reason: undefined }),
  label: () => "Start",
  question: (rollout) => `Start ${rolloutTitle(rollout)}?`,
  consequences: ({ rings }) => [
    `The first ring, ${rings[0]?.name ?? "the only one"}, opens: up to ${ringReach(rings[0] ?? wholeFleet)} are offered the update when they ask next.`,
    "Later rings open only when the gate before them holds.",
    "You can pause it or roll it back at any time.",
  ],
  doing: "start it",
  withReason: false,
  isMain: true,
};

const approve: RolloutVerb = {
  name: "approve",
  method: method.approveRollout,
  input: ({ awaitingApprovalRing }) => ({ ring: awaitingApprovalRing }),
  label: ({ awaitingApprovalRing }) =>
    awaitingApprovalRing === "" ? "Approve" : `Approve ${awaitingApprovalRing}`,
  question: (rollout) => `Approve ${rolloutTitle(rollout)}?`,
  consequences: ({ awaitingApprovalRing: ring }) => [
    ring === "" ? "The next ring may open." : `The ring ${ring} may open as soon as everything else holds.`,
    "Whoever created the rollout may not approve it.",
  ],
  doing: "approve it",
  withReason: true,
  isMain: true,
};

const promote: RolloutVerb = {
  name: "promote",
  method: method.promoteRollout,
  // Only what the operator saw may be promoted: two who press at once open one ring, not two.
  input: ({ etag }) => ({ etag }),
  label: (rollout) => {
    const ring = nextRing(rollout);
    return ring === undefined ? "Complete" : `Promote to ${ring.name}`;
  },
  question: (rollout) => {
    const ring = nextRing(rollout);
    return ring === undefined ? `Complete ${rolloutTitle(rollout)}?` : `Promote to ${ring.name}?`;
  },
  consequences: (rollout) => {
    const ring = nextRing(rollout);
    const missing = rollout.rings.find(({ state }) => state === RingState.OPEN)?.gateStatus;
    return [
      ring === undefined
        ? "The last ring passes, and the rollout is complete: devices that appear later are still offered the update."
        : `The ring ${ring.name} opens now: the update then reaches up to ${ringReach(ring)}.`,
      "The gate before it is passed over, whether or not it holds.",
      ...(missing === undefined || missing === "" ? [] : [`The gate says now: ${missing}.`]),
      "Too many failures still stop the rollout by themselves.",
    ];
  },
  doing: "promote it",
  withReason: true,
  isMain: true,
};

const pause: RolloutVerb = {
  name: "pause",
  method: method.pauseRollout,
  input: () => ({}),
  label: () => "Pause",
  question: (rollout) => `Pause ${rolloutTitle(rollout)}?`,
  consequences: (rollout) => [
    "No device is offered the update any more, and no ring opens.",
    `Devices that are updating go on: ${counted(rolloutTotals(rollout).inProgress, "device")} now.`,
    "Resume takes it up again where it stood.",
  ],
  doing: "pause it",
  withReason: true,
  isMain: false,
};

const resume: RolloutVerb = {
  name: "resume",
  method: method.resumeRollout,
  input: () => ({}),
  label: () => "Resume",
  question: (rollout) => `Resume ${rolloutTitle(rollout)}?`,
  consequences: () => [
    "Devices of the open rings are offered the update again.",
    "Rings open by themselves again when the gate before them holds.",
  ],
  doing: "resume it",
  withReason: true,
  isMain: true,
};

const rollback: RolloutVerb = {
  name: "rollback",
  method: method.rollbackRollout,
  input: () => ({}),
  label: () => "Roll back",
  question: (rollout) => `Roll ${rolloutTitle(rollout)} back from every device?`,
  consequences: (rollout) => {
    const { succeeded, inProgress } = rolloutTotals(rollout);
    return [
      `${counted(succeeded, "device")} that took the update ${succeeded === 1 ? "is" : "are"} offered the version that they came from: they download, install and reboot once more.`,
      `${counted(inProgress, "device")} updating ${inProgress === 1 ? "is" : "are"} told to stop, or rolled back if it is too late for that.`,
      "A rollback below a device's security counter is refused, and shown as failed.",
      "It cannot be resumed: to bring this version again, make a new rollout.",
    ];
  },
  typed: ({ version }) => version,
  doing: "roll it back",
  withReason: true,
  isMain: false,
};

const abort: RolloutVerb = {
  name: "abort",
  method: method.abortRollout,
  input: () => ({}),
  label: () => "Abort",
  question: (rollout) => `Stop ${rolloutTitle(rollout)} for good?`,
  consequences: (rollout) => [
    "Nobody is offered the update any more, and nothing is rolled back: devices that took it keep it.",
    ...(rollout.state === RolloutState.ROLLING_BACK
      ? ["The rollback that is under way stops where it stands."]
      : []),
    "It cannot be resumed.",
  ],
  typed: ({ version }) => version,
  doing: "abort it",
  withReason: true,
  isMain: false,
};

const wholeFleet = { devices: 0, percent: 100 };

const archive: RolloutVerb = {
  name: "archive",
  method: method.archiveRollout,
  input: () => ({}),
  label: () => "Archive",
  question: (rollout) => `Archive ${rolloutTitle(rollout)}?`,
  consequences: ({ state }) => [
    "Lists leave it out; its devices' histories keep what it did.",
    ...(state === RolloutState.COMPLETED ? ["Devices that appear later are not offered its update."] : []),
    "Its firmware may be deleted.",
    "It can be taken out of the archive again.",
  ],
  doing: "archive it",
  withReason: true,
  isMain: false,
};

const unarchive: RolloutVerb = {
  name: "unarchive",
  method: method.unarchiveRollout,
  input: () => ({}),
  label: () => "Unarchive",
  question: (rollout) => `Take ${rolloutTitle(rollout)} out of the archive?`,
  consequences: ({ state }) => [
    "It is as it was, and lists show it again.",
    ...(state === RolloutState.COMPLETED ? ["Devices that appear later are offered its update again."] : []),
  ],
  doing: "take it out of the archive",
  withReason: true,
  isMain: true,
};

/** Past the last ring only where that is what the rollout waits for: otherwise it completes by itself. */
function canPromote(rollout: Rollout): boolean {
  return (
    nextRing(rollout) !== undefined || rollout.remedies.some(({ action }) => action === RemedyAction.PROMOTE)
  );
}

/** The ring that a promotion opens; undefined when all are open. */
function nextRing({ rings }: Rollout) {
  return rings.find(({ state }) => state === RingState.WAITING);
}

/** It runs for as long as the version is recalled, and takes nobody back to that. */
const notForWaysOut: ReadonlySet<RolloutVerb> = new Set([promote, rollback]);
