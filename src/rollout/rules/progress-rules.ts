import type { Firmware } from "../../firmware/firmware.ts";
import { ringIndex } from "../model/ring-place.ts";
import { isReached } from "../model/ring-state.ts";
import type { RolloutState } from "../model/rollout.entity.ts";
import { versionOf } from "../model/version-of.ts";
import { waysOutADay } from "../model/way-out.ts";
import type { CompiledRollout, OfferFirmware } from "./compiled-rollout.ts";
import type { CheckedDevice, NoOfferReason, Rule, RuleWords } from "./rule.ts";
import { reportedText, targetingRules, unknownVersionMessage, versionText } from "./targeting-rules.ts";
import { isTooOldFor, versionFacts } from "./version-facts.ts";

/** What a device of the targeting has had, and how far the rollout is. */
export const progressRules: readonly Rule[] = [
  {
    name: "version",
    scope: "device",
    judge: (rollout, device) => {
      const { order } = versionFacts(rollout, versionOf(device, rollout.component));
      if (order === 0) return "UP_TO_DATE";
      return order > 0 && !rollout.rollout.policy.allowDowngrade ? "DOWNGRADE" : undefined;
    },
    words: (rollout, device, _facts, reason) => {
      const running = versionText(versionOf(device, rollout.component));
      const { version } = rollout.firmware;
      const required = rollout.rollout.policy.allowDowngrade
        ? `another than ${version}`
        : `older than ${version}`;
      return {
        required,
        actual: reportedText(rollout, device),
        message: versionMessage(reason, version, running),
      };
    },
  },
  {
    name: "update_pin",
    scope: "device",
    judge: (_rollout, { updatePin }) => (updatePin === "excluded" ? "EXCLUDED" : undefined),
    words: (_rollout, { updatePin }, _facts, reason) => ({
      required: "not excluded",
      actual: updatePin,
      message:
        reason === undefined ? "The device may be updated." : "The device is pinned: no rollout updates it.",
    }),
  },
  {
    name: "standing",
    scope: "device",
    judge: (_rollout, { standing }) => heldByStanding[standing],
    words: (_rollout, { standing }, _facts, reason) => ({
      required: "admitted",
      actual: standing,
      message: reason === undefined ? "The device is let in." : standingMessages[standing],
    }),
  },
  {
    name: "open_update",
    scope: "device",
    judge: (rollout, { id }, facts) => {
      const open = facts.openRollout(id, rollout);
      return open === undefined || open === rollout.id ? undefined : "UPDATE_IN_PROGRESS";
    },
    words: (rollout, { id }, facts, reason) => ({
      required: "no other update at the same time",
      actual: facts.openRollout(id, rollout) ?? "none",
      message:
        reason === undefined
          ? "The device is at no other update."
          : `The device is at the update of rollout ${facts.openRollout(id, rollout)}.`,
    }),
  },
  {
    name: "priority",
    scope: "rollout",
    judge: (rollout, device, facts) => {
      for (const outranking of rollout.outrankedBy) if (claims(outranking, device, facts)) return "OUTRANKED";
      return undefined;
    },
    words: (rollout, device, facts, reason) => {
      const outranking = rollout.outrankedBy.find((each) => claims(each, device, facts));
      return {
        required: "no rollout of higher priority, or newer where one may go back to an older version",
        actual: outranking === undefined ? "none" : outranking.rollout.name,
        message:
          reason === undefined
            ? "No other rollout goes before it."
            : `Rollout ${outranking?.rollout.name} says which version the device is to run.`,
      };
    },
  },
  {
    name: "state",
    scope: "rollout",
    judge: ({ offers, rollout }) => {
      if (offers) return undefined;
      return notStarted.has(rollout.state) ? "NOT_STARTED" : "ROLLOUT_PAUSED";
    },
    words: ({ rollout }, _device, _facts, reason) => ({
      required: "RUNNING or COMPLETED",
      actual: rollout.state,
      message: reason === undefined ? "The rollout makes offers." : stateMessage(rollout.state, rollout.name),
    }),
  },
  {
    name: "firmware",
    scope: "rollout",
    judge: ({ blocked }) => (blocked === undefined ? undefined : "ROLLOUT_PAUSED"),
    words: ({ blocked, rollout }, _device, _facts, reason) => ({
      required: "signatures that count, not expired, content that is sound",
      actual: blocked ?? "in order",
      message:
        reason === undefined
          ? "The firmware may be handed out."
          : `rollout ${rollout.name}: ${blocked ?? "paused"}`,
    }),
  },
  {
    name: "ring",
    scope: "rollout",
    judge: (rollout, device) => {
      const ring = rollout.rings[ringIndex(rollout, device)];
      return ring !== undefined && isReached(ring.state) ? undefined : "RING_NOT_OPEN";
    },
    words: (rollout, device, _facts, reason) => {
      const ring = rollout.rings[ringIndex(rollout, device)];
      const where =
        ring === undefined ? "lies beyond the last ring" : `is in ring ${ring.name}, which is not open yet`;
      return {
        required: "a ring that is open",
        actual: ring === undefined ? "none" : `${ring.name}, ${ring.state}`,
        message:
          reason === undefined
            ? "The device's ring is open."
            : `the device ${where} (rollout ${rollout.rollout.name})`,
      };
    },
  },
  {
    name: "mandatory_step",
    scope: "device",
    judge: (rollout, device) => {
      const next = nextFirmware(rollout, device);
      return next !== rollout && next.blocked !== undefined ? "STEP_MISSING" : undefined;
    },
    words: (rollout, device, _facts, reason) => {
      const next = nextFirmware(rollout, device);
      if (next === rollout)
        return { required: "none", actual: "none", message: "The device has no step to take first." };
      const { version } = next.firmware;
      return {
        required: `${version} first`,
        actual: versionText(versionOf(device, rollout.component)),
        message:
          reason === undefined
            ? `${version} is installed before ${rollout.firmware.version}.`
            : `${version} must be installed before ${rollout.firmware.version}, but ${next.blocked}`,
      };
    },
  },
  {
    name: "already_tried",
    scope: "device",
    judge: (rollout, device, facts) => (facts.wasTried(rollout.id, device.id) ? "ALREADY_TRIED" : undefined),
    words: (rollout, device, _facts, reason) => {
      const { version } = nextFirmware(rollout, device).firmware;
      const { name, recalledVersion } = rollout.rollout;
      if (recalledVersion !== undefined) return wayOutWords(version, name, reason);
      return {
        required: "not offered before",
        actual: reason === undefined ? "not offered before" : "offered before",
        message:
          reason === undefined
            ? `The device has not had ${version} by this rollout.`
            : `the device had ${version} by rollout ${name} before`,
      };
    },
  },
  {
    name: "min_current_version",
    scope: "device",
    judge: (rollout, device) => {
      if (!isTooOld(rollout, device)) return undefined;
      const { explained } = versionFacts(rollout, versionOf(device, rollout.component));
      return explained ? "VERSION_TOO_OLD" : "VERSION_UNKNOWN";
    },
    words: (rollout, device, _facts, reason) => {
      const { version, minCurrentVersion } = nextFirmware(rollout, device).firmware;
      const running = versionText(versionOf(device, rollout.component));
      return {
        required: minCurrentVersion === "" ? "any" : `at least ${minCurrentVersion}`,
        actual: reportedText(rollout, device),
        message:
          reason === undefined
            ? `${version} can be installed from there.`
            : reason === "VERSION_UNKNOWN"
              ? unknownVersionMessage(running)
              : `${version} installs from ${minCurrentVersion} on, the device runs ${running}`,
      };
    },
  },
  {
    name: "security_counter",
    scope: "device",
    judge: (rollout, device) =>
      rollout.component === "" &&
      nextFirmware(rollout, device).firmware.securityCounter < device.securityCounter
        ? "SECURITY_COUNTER"
        : undefined,
    words: (rollout, device, _facts, reason) => {
      const { securityCounter, version } = nextFirmware(rollout, device).firmware;
      return {
        // What the device counts is its firmware.
        required: rollout.component === "" ? `at most ${securityCounter}` : "any",
        actual: String(device.securityCounter),
        message:
          reason === undefined
            ? "The security counter does not fall."
            : `the security counter of ${version} is ${securityCounter}, the device's is ${device.securityCounter}`,
      };
    },
  },
];

const heldByStanding: Readonly<Record<CheckedDevice["standing"], NoOfferReason | undefined>> = {
  admitted: undefined,
  quarantined: "QUARANTINED",
  blocked: "BLOCKED",
};

const standingMessages: Readonly<Record<CheckedDevice["standing"], string>> = {
  admitted: "",
  quarantined: "The device is in quarantine: an operator has to approve it.",
  blocked: "The device is blocked: nothing of it is let in.",
};

/**
 * What the device installs next on its way to the rollout's version: the lowest mandatory step above its own version that
 * is for its type and model, or else the rollout's firmware (then the rollout itself is returned).
 */
export function nextFirmware(rollout: CompiledRollout, device: CheckedDevice): OfferFirmware {
  if (rollout.steps.length === 0) return rollout;
  const { steps } = versionFacts(rollout, versionOf(device, rollout.component));
  return steps.find(({ firmware }) => isMadeFor(firmware, device)) ?? rollout;
}

/** Whether a rollout says which version the device is to run, be it there already or not. */
function claims(
  rollout: CompiledRollout,
  device: CheckedDevice,
  facts: Parameters<Rule["judge"]>[2],
): boolean {
  const ring = rollout.rings[ringIndex(rollout, device)];
  if (!rollout.offers || ring === undefined || !isReached(ring.state)) return false;
  return targetingRules.every((rule) => rule.judge(rollout, device, facts) === undefined);
}

const notStarted: ReadonlySet<RolloutState> = new Set(["DRAFT", "AWAITING_APPROVAL", "SCHEDULED"]);

function isTooOld(rollout: CompiledRollout, device: CheckedDevice): boolean {
  const version = versionOf(device, rollout.component);
  const next = nextFirmware(rollout, device);
  if (next === rollout) return versionFacts(rollout, version).tooOld;
  const { minCurrentVersion } = next.firmware;
  return isTooOldFor(minCurrentVersion, rollout.reported.versionOf(version));
}

/** Whether a firmware is made for a device of this type and model, and of its product if somebody said which it runs. */
export function isMadeFor(
  firmware: Pick<Firmware, "product" | "component" | "deviceTypes" | "hardwareModels">,
  { deviceType, hardwareModel, product }: Pick<CheckedDevice, "deviceType" | "hardwareModel" | "product">,
): boolean {
  if (firmware.component === "" && product !== "" && firmware.product !== product) return false;
  if (!firmware.deviceTypes.includes(deviceType)) return false;
  return firmware.hardwareModels.length === 0 || firmware.hardwareModels.includes(hardwareModel);
}

function versionMessage(reason: NoOfferReason | undefined, version: string, running: string): string {
  if (reason === "UP_TO_DATE") return `The device runs ${version} already.`;
  if (reason === "DOWNGRADE") return `The device runs ${running}, which is newer than ${version}.`;
  return `${version} is what the device does not run yet.`;
}

/** Who comes back on a recalled version is offered the way out again. */
function wayOutWords(version: string, name: string, reason: NoOfferReason | undefined): RuleWords {
  const required = `offered less than ${waysOutADay} times in a day`;
  if (reason === undefined)
    return { required, actual: "fewer times", message: `The device may have ${version} by this rollout.` };
  const message = `the device had ${version} by rollout ${name} ${waysOutADay} times in a day, and is offered it again later`;
  return { required, actual: `offered ${waysOutADay} times`, message };
}

function stateMessage(state: RolloutState, name: string): string {
  switch (state) {
    case "DRAFT":
      return `rollout ${name} has not been started`;
    case "AWAITING_APPROVAL":
      return `rollout ${name} waits for an approval`;
    case "SCHEDULED":
      return `rollout ${name} waits for its start time`;
    case "PAUSED":
      return `rollout ${name} is paused`;
    case "ROLLING_BACK":
    case "ROLLED_BACK":
      return `rollout ${name} was rolled back`;
    case "ABORTED":
      return `rollout ${name} was stopped for good`;
    case "RUNNING":
    case "COMPLETED":
      return `rollout ${name} makes offers`;
  }
}
