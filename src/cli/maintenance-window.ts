import { InvalidArgumentError } from "commander";
import type { MaintenanceWindow } from "../policy/field.ts";
import { weekdayNames } from "../policy/field-text.ts";
import { parseDurationMs } from "./parse.ts";

/** Adds a window such as `02:00+4h`, `sat,sun 02:00+4h` or `sat,sun 02:00+4h Europe/Berlin` to those before. */
export function collectWindows(text: string, before: readonly MaintenanceWindow[] = []): MaintenanceWindow[] {
  const groups = /^(?:(?<days>[a-z,]+) )?(?<start>\d\d:\d\d)\+(?<duration>\S+)(?: (?<zone>\S+))?$/i.exec(
    text.trim(),
  )?.groups;
  const { days = "", start, duration, zone = "" } = groups ?? {};
  if (start === undefined || duration === undefined) {
    throw new InvalidArgumentError("a window is written as 'sat,sun 02:00+4h Europe/Berlin'");
  }
  const weekdays = days === "" ? [] : days.toLowerCase().split(",").map(weekdayOf);
  return [...before, { weekdays, start, durationMs: Math.round(parseDurationMs(duration)), timeZone: zone }];
}

const names = weekdayNames.map((name) => name.toLowerCase());

function weekdayOf(name: string): number {
  const at = names.indexOf(name.slice(0, 3));
  if (at < 0) throw new InvalidArgumentError(`${name} is no weekday: use ${names.join(", ")}`);
  return at + 1;
}
