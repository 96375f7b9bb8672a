/** What a device's newest heartbeat shows of its clock: right within a minute, off by more, or never set. */
export type ClockVerdict = (typeof clockVerdicts)[number];

/** All verdicts. */
export const clockVerdicts = ["RIGHT", "OFF", "UNSET"] as const;

/**
 * Judges a clock by how far it was ahead of the service's when a heartbeat was received; undefined if that told no time, or
 * was sent late, so that nobody knows.
 */
export function clockVerdictOf(receivedMs: number, offsetMs: number | undefined): ClockVerdict | undefined {
  if (offsetMs === undefined) return undefined;
  if (receivedMs + offsetMs < earliestSetMs) return "UNSET";
  return Math.abs(offsetMs) <= maxErrorMs ? "RIGHT" : "OFF";
}

/** Clocks that were never set say 1970, or a year that their maker chose. */
const earliestSetMs = Date.UTC(2000, 0, 1);

/** The heartbeat's way here included. */
const maxErrorMs = 60_000;
