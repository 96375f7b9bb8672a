import { type ErrorGroup, ErrorGroupStateSchema, StackKindSchema } from "../../gen/ota/v1/error_group_pb.js";
import { SeveritySchema } from "../../gen/ota/v1/heartbeat_pb.js";
import { cleanText, countText, enumText, timeText } from "./format.ts";

/** What there is to say of a group. */
export function groupFacts(group: ErrorGroup | undefined): (readonly [string, string | undefined])[] {
  if (group === undefined) return [];
  return [
    ["group", group.id],
    ["what", cleanText(group.title)],
    ["state", stateText(group)],
    ["by", group.stateReason === "" ? undefined : cleanText(group.stateReason)],
    ["resolved in", group.resolvedVersion === "" ? undefined : cleanText(group.resolvedVersion)],
    ["came back", group.regressTime === undefined ? undefined : timeText(group.regressTime)],
    ["code", cleanText(group.code)],
    ["severity", `${enumText(SeveritySchema, group.severity)}${group.fatal ? ", a crash" : ""}`],
    ["stack", enumText(StackKindSchema, group.stackKind)],
    ["grouped by", group.groupedBy === "" ? undefined : cleanText(group.groupedBy)],
    ["merged into", group.mergedInto === "" ? undefined : group.mergedInto],
    ["seen", `${countText(group.occurrenceCount, "time")} on ${countText(group.deviceCount, "device")}`],
    ["first", `${timeText(group.firstSeenTime)} on ${cleanText(group.firstSeenVersion) || "-"}`],
    ["last", `${timeText(group.lastSeenTime)}; highest version ${cleanText(group.lastSeenVersion) || "-"}`],
  ];
}

/** Where a group stands. */
export function stateText({ state }: ErrorGroup): string {
  return enumText(ErrorGroupStateSchema, state);
}
