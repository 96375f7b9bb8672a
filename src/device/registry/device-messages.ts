import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromDate } from "@bufbuild/protobuf/wkt";
import {
  type DeviceSchema,
  ExpectedIntervalSource,
  Standing as WireStanding,
  UpdatePin as WireUpdatePin,
} from "../../../gen/ota/v1/device_pb.js";
import type { SavedFilterSchema } from "../../../gen/ota/v1/device_service_pb.js";
import { Capability, ClockQuality } from "../../../gen/ota/v1/heartbeat_pb.js";
import { wirePresence } from "../fleet/fleet-messages.ts";
import type { UpdatePin } from "../state/filterable-device.ts";
import type { HeartbeatFault } from "../state/heartbeat-fault-writer.ts";
import { presenceOf } from "../state/presence.ts";
import { heartbeatMessage } from "../state/record-messages.ts";
import type { Standing } from "../state/standing.ts";
import type { DeviceDetails } from "./device-details.ts";
import type { IntervalSource } from "./expected-interval.ts";
import { clockMessage, heartbeatFaultsMessage } from "./heartbeat-fault-messages.ts";
import type { SavedFilterRow } from "./saved-filter.entity.ts";

/** A device on the wire, as it stands at this moment. */
export function deviceMessage(
  device: DeviceDetails,
  context: {
    readonly nowMs: number;
    /** How often a sign of life is expected of devices of which nobody says so. */
    readonly heartbeatIntervalMs: number;
    readonly openUpdateId: string | undefined;
    /** What is wrong with its heartbeats. */
    readonly faults: readonly HeartbeatFault[];
  },
): MessageInitShape<typeof DeviceSchema> {
  const { lastHeartbeat: last, expectedInterval, reported } = device;
  const intervalMs = expectedInterval.ms ?? context.heartbeatIntervalMs;
  return {
    id: device.id,
    serialNumber: device.serialNumber,
    deviceType: device.deviceType,
    hardwareModel: device.hardwareModel,
    product: device.product,
    displayName: device.displayName,
    groups: [...device.groups],
    metadata: device.metadata,
    tags: [...device.tags],
    updatePin: wireUpdatePins[device.updatePin],
    standing: wireStandings[device.standing],
    firmwareVersion: last?.firmwareVersion ?? "",
    openUpdateId: context.openUpdateId ?? "",
    presence: wirePresence[presenceOf(last?.receivedAt.getTime(), context.nowMs, intervalMs)],
    ...(last === undefined
      ? {}
      : { lastSeenTime: timestampFromDate(last.receivedAt), lastHeartbeat: heartbeatMessage(last) }),
    securityCounter: BigInt(device.securityCounter),
    createTime: timestampFromDate(device.createdAt),
    updateTime: timestampFromDate(device.updatedAt),
    agentVersion: reported.agentVersion ?? "",
    capabilities: valuesOf(reported.capabilities ?? []),
    clockQuality: valueOf(ClockQuality, reported.clockQuality) ?? ClockQuality.UNSPECIFIED,
    components: last?.components ?? {},
    expectedInterval: durationFromMs(intervalMs),
    expectedIntervalSource: wireSources[expectedInterval.source],
    ...(reported.intervalMs === undefined ? {} : { reportedInterval: durationFromMs(reported.intervalMs) }),
    ...heartbeatFaultsMessage(context.faults),
    ...clockMessage(device.clock),
    ...(device.enrolUntil === undefined || device.enrolUntil.getTime() <= context.nowMs
      ? {}
      : { enrolUntilTime: timestampFromDate(device.enrolUntil) }),
    ...(device.cloneSuspectedAt === undefined
      ? {}
      : { cloneSuspectedTime: timestampFromDate(device.cloneSuspectedAt) }),
    ...(device.tokenRotationRequestedAt === undefined
      ? {}
      : { tokenRotationRequestedTime: timestampFromDate(device.tokenRotationRequestedAt) }),
    ...(device.retiredAt === undefined ? {} : { retireTime: timestampFromDate(device.retiredAt) }),
  };
}

/** A pin from the wire, where the contract's rules have refused everything that is none. */
export function updatePinOf(wire: WireUpdatePin): UpdatePin {
  if (wire === WireUpdatePin.CANARY) return "canary";
  return wire === WireUpdatePin.EXCLUDED ? "excluded" : "none";
}

/** A saved filter on the wire. */
export function savedFilterMessage(row: SavedFilterRow): MessageInitShape<typeof SavedFilterSchema> {
  const { id, name, filter, creator, createdAt } = row;
  return { id, name, filter, creator, createTime: timestampFromDate(createdAt) };
}

const wireUpdatePins: Readonly<Record<UpdatePin, WireUpdatePin>> = {
  none: WireUpdatePin.UNSPECIFIED,
  canary: WireUpdatePin.CANARY,
  excluded: WireUpdatePin.EXCLUDED,
};

const wireStandings: Readonly<Record<Standing, WireStanding>> = {
  admitted: WireStanding.ADMITTED,
  quarantined: WireStanding.QUARANTINED,
  blocked: WireStanding.BLOCKED,
};

const wireSources: Readonly<Record<IntervalSource, ExpectedIntervalSource>> = {
  operator: ExpectedIntervalSource.OPERATOR,
  device: ExpectedIntervalSource.DEVICE,
  device_type: ExpectedIntervalSource.DEVICE_TYPE,
  setting: ExpectedIntervalSource.SETTING,
};

function valuesOf(names: readonly string[]): Capability[] {
  return names.flatMap((name) => valueOf(Capability, name) ?? []);
}

/** The value of an enum's name; undefined for one that a newer replica wrote. */
function valueOf<T>(values: Readonly<Record<string, T | string>>, name: string | undefined): T | undefined {
  const value = name === undefined ? undefined : values[name];
  return typeof value === "number" ? value : undefined;
}
