import type { BootSighting } from "../state/boot-sighting.ts";

/** Under which boots a device was heard, and when one of them came back after another. */
export interface BootHistory {
  /** The one that was heard last is last. */
  readonly boots: readonly KnownBoot[];
  /** When boots came back, in milliseconds since 1970, oldest first. */
  readonly returnsMs: readonly number[];
}

/** A boot that a device was heard under. */
export interface KnownBoot {
  readonly id: string;
  /** When it began, in milliseconds since 1970; null if the device tells no uptime. */
  readonly startedAtMs: number | null;
}

/** What of it a history keeps. */
export interface HistoryBounds {
  /** For how long a return counts, in milliseconds. */
  readonly windowMs: number;
}

/** Of a device that was never heard. */
export const noBoots: BootHistory = { boots: [], returnsMs: [] };

/**
 * A history with one more sighting; the same one if that says nothing new. A boot ends when the next one begins, so one that is heard
 * again after another has been heard is a return: what two machines do that run at the same time, and one machine does not, but for
 * one that went back to a saved state. Its clock went back too: if the boot that returns tells an uptime by which it began at another
 * time than it did before, that is no return.
 */
export function withSighting(
  history: BootHistory,
  { bootId, atMs, startedAtMs: told }: Pick<BootSighting, "bootId" | "atMs" | "startedAtMs">,
  { windowMs }: HistoryBounds,
): BootHistory {
  const { boots, returnsMs } = history;
  const startedAtMs = told ?? null;
  const known = boots.find(({ id }) => id === bootId);
  const isCurrent = known !== undefined && known === boots.at(-1);
  // It tells uptimes as a rule: whether it returned shows with the next one.
  if (known !== undefined && known.startedAtMs !== null && startedAtMs === null) return history;
  const isSame = known !== undefined && ranThrough(known.startedAtMs, startedAtMs);
  if (isCurrent && isSame && (known.startedAtMs !== null || startedAtMs === null)) return history;
  const others = boots.filter((boot) => boot !== known);
  const boot = { id: bootId, startedAtMs: startedAtMs ?? known?.startedAtMs ?? null };
  const counted = returnsMs.filter((returnMs) => returnMs > atMs - windowMs);
  return {
    boots: [...others, boot].slice(-maxBoots),
    returnsMs: isSame && !isCurrent ? [...counted, atMs].slice(-maxReturns) : counted,
  };
}

/** Whether a boot that is heard again can have run all the while. */
function ranThrough(beforeMs: number | null, nowMs: number | null): boolean {
  return beforeMs === null || nowMs === null || Math.abs(nowMs - beforeMs) <= toleratedShiftMs;
}

/** More than clocks drift and messages take, and less than what is worth to go back to. */
const toleratedShiftMs = 5 * 60_000;

/** More machines under one identity than this, in turns, are not told apart; the device is suspected long before. */
const maxBoots = 16;

/** The most that a setting can ask for. */
const maxReturns = 100;
