/** Formats what the wall clock of a time zone shows, by its IANA name. Throws RangeError for a name that is none. */
export function wallClock(timeZone: string): Intl.DateTimeFormat {
  return new Intl.DateTimeFormat("en-US", {
    timeZone,
    hourCycle: "h23",
    year: "numeric",
    month: "numeric",
    day: "numeric",
    hour: "numeric",
    minute: "numeric",
    second: "numeric",
  });
}

/** By how much the wall clock of a zone is ahead of UTC at an instant. */
export function offsetMs(zone: Intl.DateTimeFormat, ms: number): number {
  return wallMs(zone, ms) - ms;
}

/** What the wall clock shows, as if it were UTC. */
export function wallMs(zone: Intl.DateTimeFormat, ms: number): number {
  const parts: Partial<Record<Intl.DateTimeFormatPartTypes, number>> = {};
  for (const { type, value } of zone.formatToParts(ms)) parts[type] = Number(value);
  const { year = 1970, month = 1, day = 1, hour = 0, minute = 0, second = 0 } = parts;
  return Date.UTC(year, month - 1, day, hour, minute, second) + (((ms % 1_000) + 1_000) % 1_000);
}
