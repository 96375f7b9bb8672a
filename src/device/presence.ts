/** Whether a device is being heard from. */
export type Presence = "unknown" | "online" | "late" | "offline";

/**
 * A heartbeat may come this many intervals after the one before and still be on time: devices add jitter, and networks
 * add theirs.
 */
export const onlineIntervals = 1.5;

/** After this many silent intervals a device is offline: three heartbeats in a row are missing. */
export const lateIntervals = 4;

/**
 * Judges a device by its last heartbeat: online up to 1.5 intervals after it, late up to 4, then offline; unknown if none
 * ever came. All in milliseconds by the service's clock. A time ahead of `nowMs` (another replica's clock, or a clock that
 * was set back) counts as just now.
 */
export function presenceOf(lastSeenMs: number | undefined, nowMs: number, intervalMs: number): Presence {
  if (lastSeenMs === undefined) return "unknown";
  const silentMs = nowMs - lastSeenMs;
  if (silentMs <= onlineIntervals * intervalMs) return "online";
  return silentMs <= lateIntervals * intervalMs ? "late" : "offline";
}
