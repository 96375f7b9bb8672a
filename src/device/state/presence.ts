/** Whether a device is being heard from. */
export type Presence = "unknown" | "online" | "late" | "offline";

/**
 * A heartbeat may come this many intervals after the one before and still be on time: devices add jitter, and networks
 * add theirs.
 */
export const onlineIntervals = 1.5;

/** After this many silent intervals a device is offline: three heartbeats in a row are missing. */
export const lateIntervals = 4;

/** By so much the clocks of those who write and read a time may differ. */
export const clockSlackSeconds = 60;

/** From when on a device must have been heard to be online, or late; before that it is offline. */
export interface PresenceCutoffs {
  /** In seconds since 1970. */
  readonly onlineFrom: number;
  /** In seconds since 1970. */
  readonly lateFrom: number;
  /**
   * Up to when, in seconds since 1970, somebody can have been heard by now. A later time was written while the clock was wrong: it
   * is no sign of life, and the next heartbeat puts it right.
   */
  readonly seenUntil: number;
}

/**
 * The cutoffs at a time, in whole seconds: so that counters by second of last hearing, queries and single judgements all
 * draw the line at the same place. Times in milliseconds by the service's clock.
 */
export function presenceCutoffs(nowMs: number, intervalMs: number): PresenceCutoffs {
  return {
    onlineFrom: Math.floor((nowMs - onlineIntervals * intervalMs) / 1_000),
    lateFrom: Math.floor((nowMs - lateIntervals * intervalMs) / 1_000),
    seenUntil: Math.floor(nowMs / 1_000) + clockSlackSeconds,
  };
}

/** Judges a device by the second in which it was last heard. */
export function presenceAt(
  seenSecond: number,
  { onlineFrom, lateFrom, seenUntil }: PresenceCutoffs,
): Exclude<Presence, "unknown"> {
  if (seenSecond > seenUntil) return "offline";
  if (seenSecond >= onlineFrom) return "online";
  return seenSecond >= lateFrom ? "late" : "offline";
}

/**
 * Judges a device by its last heartbeat: online up to 1.5 intervals after it, late up to 4, then offline; unknown if none
 * ever came. All in milliseconds by the service's clock, to the second. A time up to a minute ahead of `nowMs` (another
 * replica's clock, or one that was corrected) counts as just now.
 */
export function presenceOf(lastSeenMs: number | undefined, nowMs: number, intervalMs: number): Presence {
  if (lastSeenMs === undefined) return "unknown";
  return presenceAt(Math.floor(lastSeenMs / 1_000), presenceCutoffs(nowMs, intervalMs));
}

/** When a device that was last heard in a second stops to be as it is, in whole seconds; undefined once it is offline. */
export function nextPresenceChange(
  seenSecond: number,
  presence: Presence,
  intervalMs: number,
): number | undefined {
  if (presence === "offline" || presence === "unknown") return undefined;
  const intervals = presence === "online" ? onlineIntervals : lateIntervals;
  return Math.ceil(((seenSecond + 1) * 1_000 + intervals * intervalMs) / 1_000);
}
