import type { RingState } from "./deployment-ring.entity.ts";
import type { DeviceUpdateRecord } from "./device-update-list.ts";
import type { Ring, Rollout } from "./rollout.ts";

/** What a verb changed. */
export interface VerbEffect extends Changes {
  /** Whether there was nothing to do, for what was asked for is so already. */
  readonly unchanged: boolean;
  /** What was done, or what is so already, in a sentence for people. */
  readonly message: string;
}

/** What came to be different. */
interface Changes {
  /** Rings that opened, or opened again, in their order. */
  readonly openedRings: readonly string[];
  /** The ring that was approved; empty if none was. */
  readonly approvedRing: string;
  /** Updates that were cancelled before their devices began to install, and rollbacks that were called off. */
  readonly cancelled: number;
  /** Devices that are told to go back. */
  readonly rollbacks: number;
  /** Devices that have to go back and must not. */
  readonly blocked: number;
  /** Devices that are told to go back once their update of another component is over. */
  readonly waiting: number;
  /** Devices that are still to be looked at, in batches: at most so many. */
  readonly remaining: number;
  /** Devices that may try again. */
  readonly retries: number;
  /** Rollouts that were paused, because what they bring was recalled. */
  readonly pausedRollouts: number;
}

/** A rollout as it is after a verb. */
export interface SteeredRollout extends Rollout {
  readonly effect: VerbEffect;
}

/** A device's update as it is after a verb. */
export interface SteeredUpdate extends DeviceUpdateRecord {
  readonly effect: VerbEffect;
}

/**
 * What a verb changed of a rollout, from how it was before (undefined: it was not there) and after, both read in the
 * transaction of the verb, which has it locked: so nothing else is counted.
 */
export function steered(before: Rollout | undefined, after: Rollout): SteeredRollout {
  if (before?.revision === after.revision) return { ...after, effect: nothing(rolloutWords(after)) };
  const changes = changesOf(before, after);
  const told = changeWords(changes);
  const message = sentence([
    stateWords(after),
    ...goingOn(after),
    ...(told.length > 0 ? told : toldBefore(after)),
  ]);
  return { ...after, effect: { ...changes, unchanged: false, message } };
}

/** What a verb changed of one device's update, as {@link steered}; undefined if nothing. */
export function deviceEffect(before: Rollout, after: Rollout): VerbEffect | undefined {
  const changes = changesOf(before, after);
  if (!tookBack(changes)) return undefined;
  return { ...changes, unchanged: false, message: sentence(changeWords(changes)) };
}

/** One device may try again. */
export function retryEffect(): VerbEffect {
  const changes = { ...noChanges, retries: 1 };
  return { ...changes, unchanged: false, message: sentence(changeWords(changes)) };
}

/** What a recall or a reinstatement changed, beside what the words say. */
export function recallEffect(
  words: readonly string[],
  changed: Partial<Pick<VerbEffect, "cancelled" | "rollbacks" | "blocked" | "pausedRollouts">>,
): VerbEffect {
  const changes = { ...noChanges, ...changed };
  return { ...changes, unchanged: false, message: sentence([...words, ...changeWords(changes)]) };
}

/** Nothing was done, for what was asked for is so already. */
export function nothing(words: string): VerbEffect {
  return { ...noChanges, unchanged: true, message: sentence([`nothing changed: ${words}`]) };
}

/** Whether anything was cancelled, has to go back, or is still to be looked at. */
export function tookBack({ cancelled, rollbacks, blocked, waiting, remaining }: Changes): boolean {
  return cancelled + rollbacks + blocked + waiting + remaining > 0;
}

const noChanges: Changes = {
  openedRings: [],
  approvedRing: "",
  cancelled: 0,
  rollbacks: 0,
  blocked: 0,
  waiting: 0,
  remaining: 0,
  retries: 0,
  pausedRollouts: 0,
};

function changesOf(before: Rollout | undefined, after: Rollout): Changes {
  const was = new Map(before?.rings.map((ring) => [ring.id, ring]));
  const opened = after.rings.filter((ring) => isReopened(was.get(ring.id)?.state, ring.state));
  const approved = after.rings.find((ring) => ring.approver !== (was.get(ring.id)?.approver ?? ""));
  const cancelledUpdates =
    sumOf(after, "cancelled") - (before === undefined ? 0 : sumOf(before, "cancelled"));
  const goingBack = openRollbacks(after) - openRollbacks(before);
  const waiting = after.rollback.waiting - (before?.rollback.waiting ?? 0);
  const blocked = after.rollback.blocked - (before?.rollback.blocked ?? 0);
  const changes = {
    ...noChanges,
    openedRings: opened.map(({ name }) => name),
    approvedRing: approved?.name ?? "",
    cancelled: Math.max(0, cancelledUpdates) + Math.max(0, -goingBack) + Math.max(0, -waiting),
    rollbacks: Math.max(0, goingBack),
    blocked: Math.max(0, blocked),
    waiting: Math.max(0, waiting),
  };
  return { ...changes, remaining: remainingOf(after, changes) };
}

function isReopened(was: RingState | undefined, is: RingState): boolean {
  return was === "FAILED" ? is === "OPEN" : (was ?? "WAITING") === "WAITING" && is !== "WAITING";
}

/** Those that the first batch of a large rollback left; the counters of its rings say how many devices there are. */
function remainingOf({ rollbackPlan, rings }: Rollout, told: Changes): number {
  if (rollbackPlan === undefined || rollbackPlan.cursor === null || rollbackPlan.waiting === true) return 0;
  const { ringIds } = rollbackPlan;
  const concerned = rings.filter(({ id }) => ringIds === null || ringIds.includes(id));
  const devices = concerned.reduce((sum, { counters }) => sum + counters.offered, 0);
  return Math.max(1, devices - told.cancelled - told.rollbacks - told.blocked - told.waiting);
}

function openRollbacks(rollout: Rollout | undefined): number {
  if (rollout === undefined) return 0;
  const { total, completed, failed } = rollout.rollback;
  return total - completed - failed;
}

function sumOf({ rings }: Rollout, counter: keyof Ring["counters"]): number {
  return rings.reduce((sum, { counters }) => sum + counters[counter], 0);
}

function changeWords(changes: Changes): string[] {
  const { openedRings, approvedRing, cancelled, rollbacks, blocked, waiting, remaining, retries } = changes;
  const { pausedRollouts } = changes;
  return [
    ...(openedRings.length === 0 ? [] : [`${ringWords(openedRings)} opened`]),
    ...(approvedRing === "" ? [] : [`${ringWords([approvedRing])} is approved`]),
    ...(cancelled === 0 ? [] : [`${counted(cancelled, "update is", "updates are")} cancelled`]),
    ...(rollbacks === 0 ? [] : [`${counted(rollbacks, "device goes", "devices go")} back`]),
    ...(blocked === 0 ? [] : [`${counted(blocked, "device", "devices")} must not go back`]),
    ...(waiting === 0
      ? []
      : [
          `${counted(waiting, "device goes", "devices go")} back when the update of another component is over`,
        ]),
    ...(remaining === 0
      ? []
      : [`up to ${counted(remaining, "device follows", "devices follow")} in batches`]),
    ...(retries === 0 ? [] : [`${counted(retries, "device", "devices")} may try again`]),
    ...(pausedRollouts === 0 ? [] : [`${counted(pausedRollouts, "rollout is", "rollouts are")} paused`]),
  ];
}

/** How a rollout stands, with the rings that matter for the verbs. */
function rolloutWords(rollout: Rollout): string {
  const { rings } = rollout;
  const open = rings.filter(({ state }) => state !== "WAITING").map(({ name }) => name);
  const approved = rings.filter(({ approver }) => approver !== "");
  return [
    stateWords(rollout),
    ...(open.length === 0 ? [] : [`${ringWords(open)} opened before`]),
    ...approved.map(({ name, approver }) => `ring ${name} was approved by ${approver}`),
  ].join("; ");
}

function stateWords({ state, policy, rings, stateReason }: Rollout): string {
  switch (state) {
    case "DRAFT":
      return "the rollout is not started";
    case "AWAITING_APPROVAL":
      return `the rollout waits for an approval of ring ${rings[0]?.name ?? ""}`;
    case "SCHEDULED":
      return `the rollout starts at ${policy.startAt ?? ""}`;
    case "RUNNING":
      return "the rollout is running";
    case "PAUSED":
      return `the rollout is paused${stateReason === "" ? "" : ` (${stateReason})`}`;
    case "ROLLING_BACK":
      return "the rollout is being rolled back";
    case "ROLLED_BACK":
      return "the rollout is rolled back";
    case "COMPLETED":
      return "the rollout is complete";
    case "ABORTED":
      return "the rollout is aborted";
  }
}

/** Who goes on although no more offers are made. */
function goingOn(rollout: Rollout): string[] {
  const updating = sumOf(rollout, "inProgress");
  if (updating === 0 || (rollout.state !== "PAUSED" && rollout.state !== "ABORTED")) return [];
  return [`${counted(updating, "device goes", "devices go")} on updating`];
}

function toldBefore({ state }: Rollout): string[] {
  return state === "ROLLING_BACK" ? ["every device that has to go back was told before"] : [];
}

function ringWords(names: readonly string[]): string {
  const last = names.at(-1) ?? "";
  return names.length < 2 ? `ring ${last}` : `rings ${names.slice(0, -1).join(", ")} and ${last}`;
}

function counted(count: number, one: string, many: string): string {
  return `${count} ${count === 1 ? one : many}`;
}

function sentence(parts: readonly string[]): string {
  const text = parts.join("; ");
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}
