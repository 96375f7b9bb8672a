import { offsetMs, wallClock, wallMs } from "./wall-clock.ts";

/** A time of the week, by the wall clock. */
export interface ScheduleWindow {
  /** Days on which it begins, 1 for Monday to 7 for Sunday; empty means every day. */
  readonly weekdays: readonly number[];
  /** `HH:MM` in the time zone. */
  readonly start: string;
  readonly durationMs: number;
  /** IANA name; empty means UTC. */
  readonly timeZone: string;
}

/** Whether a maintenance window is open, and until when that stays so. */
export interface ScheduleState {
  readonly open: boolean;
  /** When it changes, in milliseconds since 1970. */
  readonly changesAtMs: number;
}

/**
 * Maintenance windows. A window begins at its time on the wall clock of its time zone, also on days on which
 * the clocks change: a time that is skipped counts from where the clock goes on, of a time that comes twice the first one
 * counts. It lasts as long as it lasts. What was worked out for a time zone is kept until it changes.
 */
export class MaintenanceSchedule {
  readonly #windows: readonly ScheduleWindow[];
  readonly #states = new Map<string, ScheduleState & { readonly fromMs: number }>();

  constructor(windows: readonly ScheduleWindow[]) {
    this.#windows = windows;
  }

  /** Whether there are no windows: devices may be updated at any time. */
  get always(): boolean {
    return this.#windows.length === 0;
  }

  /** How it stands for a device in a time zone of its own, or for one without (undefined). */
  at(nowMs: number, deviceZone: string | undefined): ScheduleState {
    const key = deviceZone ?? "";
    const known = this.#states.get(key);
    if (known !== undefined && nowMs >= known.fromMs && nowMs < known.changesAtMs) return known;
    const state = this.#judge(nowMs, deviceZone);
    // Devices may name any zone: start again rather than grow.
    if (this.#states.size >= maxZones) this.#states.clear();
    this.#states.set(key, { ...state, fromMs: nowMs });
    return state;
  }

  #judge(nowMs: number, deviceZone: string | undefined): ScheduleState {
    let opensAtMs = Number.POSITIVE_INFINITY;
    let closesAtMs = 0;
    for (const window of this.#windows) {
      const zone = zoneOf(deviceZone) ?? zoneOf(window.timeZone) ?? utc;
      for (let day = -2; day <= 8; day++) {
        const beginMs = beginOn(window, zone, nowMs, day);
        if (beginMs === undefined) continue;
        if (beginMs > nowMs) opensAtMs = Math.min(opensAtMs, beginMs);
        else if (beginMs + window.durationMs > nowMs)
          closesAtMs = Math.max(closesAtMs, beginMs + window.durationMs);
      }
    }
    const open = closesAtMs > 0;
    return { open, changesAtMs: open ? closesAtMs : Math.min(opensAtMs, nowMs + maxKeptMs) };
  }
}

/** The zone by whose wall clock a window begins for a device: its own if that is one, else the window's; empty for UTC. */
export function windowZone(deviceZone: string | undefined, window: Pick<ScheduleWindow, "timeZone">): string {
  return (zoneOf(deviceZone) === undefined ? undefined : deviceZone) ?? window.timeZone;
}

const dayMs = 24 * 3_600_000;

/** A state is worked out again after this time at the latest. */
const maxKeptMs = 8 * dayMs;

/** There are some 600 names of time zones. */
const maxZones = 1_000;

/** Formats the wall clock of a zone; undefined for a name that is none. Making one takes some 50 us, so they are kept. */
function zoneOf(name: string | undefined): Intl.DateTimeFormat | undefined {
  if (name === undefined || name === "") return undefined;
  const known = formats.get(name);
  if (known !== undefined || formats.has(name)) return known;
  if (formats.size >= maxZones) formats.clear();
  let format: Intl.DateTimeFormat | undefined;
  try {
    format = wallClock(name);
  } catch {
    // Devices and operators may write anything into the metadata; the window's own zone counts then.
  }
  formats.set(name, format);
  return format;
}

const formats = new Map<string, Intl.DateTimeFormat | undefined>();
const utc = wallClock("UTC");

/** When the window begins on the wall clock's day that is `days` after today, unless it does not begin on that weekday. */
function beginOn(
  { weekdays, start }: ScheduleWindow,
  zone: Intl.DateTimeFormat,
  nowMs: number,
  days: number,
): number | undefined {
  const today = Math.floor(wallMs(zone, nowMs) / dayMs);
  const date = (today + days) * dayMs;
  // The 1st of January 1970 was a Thursday.
  const weekday = ((((today + days + 3) % 7) + 7) % 7) + 1;
  if (weekdays.length > 0 && !weekdays.includes(weekday)) return undefined;
  const [hours = 0, minutes = 0] = start.split(":").map(Number);
  return instantOf(zone, date + (hours * 60 + minutes) * 60_000);
}

/** The instant at which the wall clock shows a time, given as if it were UTC. */
function instantOf(zone: Intl.DateTimeFormat, wall: number): number {
  const before = wall - offsetMs(zone, wall - dayMs);
  const after = wall - offsetMs(zone, wall + dayMs);
  const [early, late] = before < after ? [before, after] : [after, before];
  if (wallMs(zone, early) === wall) return early;
  if (wallMs(zone, late) === wall) return late;
  // A time that is skipped: as far behind the change as the time lies in the gap.
  return late;
}
