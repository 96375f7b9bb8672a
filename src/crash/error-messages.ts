import type { MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { create, toJson } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import {
  CrashLogSchema,
  type ErrorGroupSchema,
  type ErrorOccurrenceSchema,
  type GroupingRuleSchema,
  StackKind as WireStackKind,
  ErrorGroupState as WireState,
} from "../../gen/ota/v1/error_group_pb.js";
import type {
  AffectedDeviceSchema,
  ListErrorGroupsRequestSchema,
  TryGroupingRuleResponseSchema,
} from "../../gen/ota/v1/error_service_pb.js";
import { Severity } from "../../gen/ota/v1/heartbeat_pb.js";
import { dateOf } from "../call/request-date.ts";
import { errorMessage } from "../device/state/record-messages.ts";
import { invalidArgument } from "../errors.ts";
import type { CrashLog } from "./crash-logs.ts";
import {
  type AffectedDevice,
  type ErrorGroup,
  type ErrorGroupState,
  type ErrorOccurrence,
  type GroupOrder,
  groupOrders,
} from "./error-group.ts";
import { errorGroupListFilter } from "./error-group-filter.ts";
import type { GroupFilter } from "./error-groups.ts";
import type { GroupingRule } from "./grouping-rule.ts";
import type { RuleTrial } from "./rule-trials.ts";
import type { StackKind } from "./stacks/stack.ts";

/** A group on the wire. */
export function groupMessage(group: ErrorGroup): MessageInitShape<typeof ErrorGroupSchema> {
  return {
    id: group.id,
    fingerprint: group.fingerprint,
    state: wireStates[group.state],
    title: group.title,
    code: group.code,
    severity: Severity[group.severity],
    fatal: group.fatal,
    stackKind: wireKinds[group.stackKind],
    occurrenceCount: BigInt(group.occurrenceCount),
    deviceCount: BigInt(group.deviceCount),
    firstSeenTime: timestampFromDate(group.firstSeenAt),
    lastSeenTime: timestampFromDate(group.lastSeenAt),
    firstSeenVersion: group.firstSeenVersion,
    lastSeenVersion: group.lastSeenVersion,
    resolvedVersion: group.resolvedVersion,
    ...(group.regressedAt === undefined ? {} : { regressTime: timestampFromDate(group.regressedAt) }),
    stateReason: group.stateReason,
    groupedBy: group.groupedBy,
    mergedInto: group.mergedInto ?? "",
  };
}

/** An occurrence on the wire. */
export function occurrenceMessage(
  occurrence: ErrorOccurrence,
): MessageInitShape<typeof ErrorOccurrenceSchema> {
  const { report, deviceTime } = occurrence;
  return {
    id: occurrence.id,
    groupId: occurrence.groupId,
    deviceId: occurrence.deviceId,
    report: errorMessage(report),
    receiveTime: timestampFromDate(occurrence.receivedAt),
    ...(deviceTime === undefined ? {} : { deviceTime: timestampFromDate(deviceTime) }),
    firmwareVersion: occurrence.firmwareVersion,
    bootId: occurrence.bootId,
  };
}

/** An affected device on the wire. */
export function affectedMessage(device: AffectedDevice): MessageInitShape<typeof AffectedDeviceSchema> {
  return {
    deviceId: device.deviceId,
    serialNumber: device.serialNumber,
    occurrenceCount: BigInt(device.occurrenceCount),
    firstSeenTime: timestampFromDate(device.firstSeenAt),
    lastSeenTime: timestampFromDate(device.lastSeenAt),
    lastSeenVersion: device.lastSeenVersion,
  };
}

/** A rule on the wire. */
export function ruleMessage({
  createdAt,
  ...rule
}: GroupingRule): MessageInitShape<typeof GroupingRuleSchema> {
  return { ...rule, createTime: timestampFromDate(createdAt) };
}

/** How a report fares with the conditions of a rule, on the wire. */
export function trialMessage({
  subject,
  stackKind,
  failed,
  ...trial
}: RuleTrial): MessageInitShape<typeof TryGroupingRuleResponseSchema> {
  return {
    ...trial,
    stackKind: wireKinds[stackKind],
    fault: subject.fault,
    frames: [...subject.frames],
    failedConditions: [...failed],
  };
}

/** A crash log on the wire. */
export function crashLogMessage(log: CrashLog): MessageInitShape<typeof CrashLogSchema> {
  return {
    id: log.id,
    deviceId: log.deviceId,
    sizeBytes: BigInt(log.sizeBytes),
    sha256: log.sha256,
    createTime: timestampFromDate(log.createdAt),
  };
}

/** A crash log in protobuf's JSON mapping, with its zeros as the REST door writes them. */
export function crashLogJson(log: CrashLog): unknown {
  return toJson(CrashLogSchema, create(CrashLogSchema, crashLogMessage(log)), { alwaysEmitImplicit: true });
}

/** The state that a request names. The contract's rules refuse what is none. */
export function stateOf(state: WireState): ErrorGroupState {
  const found = (Object.keys(wireStates) as ErrorGroupState[]).find((each) => wireStates[each] === state);
  if (found === undefined) throw invalidArgument("state", "is not known");
  return found;
}

/** What a list is restricted to. */
export function groupFilterOf(request: MessageShape<typeof ListErrorGroupsRequestSchema>): GroupFilter {
  return {
    states: request.states.map(stateOf),
    fatalOnly: request.fatalOnly,
    firmwareVersion: request.firmwareVersion,
    deviceType: request.deviceType,
    seenSince: dateOf(request.seenSince),
    firstSeenSince: dateOf(request.firstSeenSince),
    text: request.text,
    matching: errorGroupListFilter.read(request.filter),
  };
}

/** The order that a request names, as AIP-132 writes it. */
export function groupOrderOf(orderBy: string): GroupOrder {
  const text = orderBy.trim().replaceAll(/\s+/g, " ");
  if (text === "") return "last_seen_time";
  const order = groupOrders.find((each) => text === `${each} desc`);
  if (order !== undefined) return order;
  throw invalidArgument(
    "order_by",
    `must be one of ${groupOrders.map((each) => `"${each} desc"`).join(", ")}`,
  );
}

const wireStates = {
  open: WireState.OPEN,
  resolved: WireState.RESOLVED,
  ignored: WireState.IGNORED,
} as const satisfies Record<ErrorGroupState, WireState>;

const wireKinds = {
  none: WireStackKind.NONE,
  native: WireStackKind.NATIVE,
  python: WireStackKind.PYTHON,
  javascript: WireStackKind.JAVASCRIPT,
  rust: WireStackKind.RUST,
  java: WireStackKind.JAVA,
  kernel: WireStackKind.KERNEL,
  other: WireStackKind.OTHER,
  go: WireStackKind.GO,
  dotnet: WireStackKind.DOTNET,
  microcontroller: WireStackKind.MICROCONTROLLER,
  lua: WireStackKind.LUA,
} as const satisfies Record<StackKind, WireStackKind>;
