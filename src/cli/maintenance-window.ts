import type { MessageInitShape } from "@bufbuild/protobuf";
import { InvalidArgumentError } from "commander";
import type { MaintenanceWindowSchema } from "../../gen/ota/v1/rollout_pb.js";
import { parseDuration } from "./parse.ts";

/** A maintenance window of a request. */
export type MaintenanceWindowInit = MessageInitShape<typeof MaintenanceWindowSchema>;

/** Adds a window such as `02:00+4h`, `sat,sun 02:00+4h` or `sat,sun 02:00+4h Europe/Berlin` to those before. */
export function collectWindows(
  text: string,
  before: readonly MaintenanceWindowInit[] = [],
): MaintenanceWindowInit[] {
  const groups = /^(?:(?<days>[a-z,]+) )?(?<start>\d\d:\d\d)\+(?<duration>\S+)(?: (?<zone>\S+))?$/i.exec(
    text.trim(),
  )?.groups;
  const { days = "", start, duration, zone = "" } = groups ?? {};
  if (start === undefined || duration === undefined) {
    throw new InvalidArgumentError("a window is written as 'sat,sun 02:00+4h Europe/Berlin'");
  }
  const weekdays = days === "" ? [] : days.toLowerCase().split(",").map(weekdayOf);
  return [...before, { weekdays, start, duration: parseDuration(duration), timeZone: zone }];
}

const names = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

function weekdayOf(name: string): number {
  const at = names.indexOf(name.slice(0, 3));
  if (at < 0) throw new InvalidArgumentError(`${name} is no weekday: use ${names.join(", ")}`);
  return at + 1;
}
