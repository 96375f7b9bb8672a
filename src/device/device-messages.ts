import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromDate } from "@bufbuild/protobuf/wkt";
import { type DeviceSchema, Presence as WirePresence } from "../../gen/ota/v1/device_pb.js";
import type { GetDeviceStatusOverviewResponseSchema } from "../../gen/ota/v1/device_service_pb.js";
import type { HeartbeatSchema } from "../../gen/ota/v1/heartbeat_pb.js";
import type { DeviceDetails } from "./device-details.ts";
import type { HeartbeatRecord } from "./heartbeat-record.ts";
import { type Presence, presenceOf } from "./presence.ts";
import type { CountByName, FleetStatus } from "./status-overview.ts";

/** A device on the wire, as it stands at this moment. */
export function deviceMessage(
  device: DeviceDetails,
  context: { readonly nowMs: number; readonly intervalMs: number; readonly openUpdateId: string | undefined },
): MessageInitShape<typeof DeviceSchema> {
  const last = device.lastHeartbeat;
  return {
    id: device.id,
    serialNumber: device.serialNumber,
    deviceType: device.deviceType,
    hardwareModel: device.hardwareModel,
    displayName: device.displayName,
    groups: [...device.groups],
    metadata: device.metadata,
    firmwareVersion: last?.firmwareVersion ?? "",
    openUpdateId: context.openUpdateId ?? "",
    presence: wirePresence[presenceOf(last?.receivedAt.getTime(), context.nowMs, context.intervalMs)],
    ...(last === undefined
      ? {}
      : { lastSeenTime: timestampFromDate(last.receivedAt), lastHeartbeat: lastHeartbeatMessage(last) }),
    securityCounter: BigInt(device.securityCounter),
    createTime: timestampFromDate(device.createdAt),
    updateTime: timestampFromDate(device.updatedAt),
    ...(device.retiredAt === undefined ? {} : { retireTime: timestampFromDate(device.retiredAt) }),
  };
}

/** The fleet's state on the wire. */
export function statusMessage(
  status: FleetStatus,
): MessageInitShape<typeof GetDeviceStatusOverviewResponseSchema> {
  return {
    totalCount: BigInt(status.total),
    onlineCount: BigInt(status.online),
    lateCount: BigInt(status.late),
    offlineCount: BigInt(status.offline),
    unknownCount: BigInt(status.unknown),
    firmwareVersions: status.firmwareVersions.map(countMessage),
    deviceTypes: status.deviceTypes.map(countMessage),
    updatingCount: BigInt(status.updating),
    streamingCount: BigInt(status.streaming),
    countTime: timestampFromDate(status.countedAt),
  };
}

const wirePresence: Readonly<Record<Presence, WirePresence>> = {
  unknown: WirePresence.UNKNOWN,
  online: WirePresence.ONLINE,
  late: WirePresence.LATE,
  offline: WirePresence.OFFLINE,
};

/** Without errors and metrics, as the contract says of a device's last heartbeat. */
function lastHeartbeatMessage(record: HeartbeatRecord): MessageInitShape<typeof HeartbeatSchema> {
  const { latitude, longitude, networkType, signalDbm, carrier } = record;
  const located = latitude !== undefined && longitude !== undefined;
  const connected = networkType !== undefined || signalDbm !== undefined || carrier !== undefined;
  return {
    sequence: BigInt(record.sequence),
    ...(record.deviceTime === undefined ? {} : { deviceTime: timestampFromDate(record.deviceTime) }),
    firmwareVersion: record.firmwareVersion,
    bootId: record.bootId,
    uptime: durationFromMs(record.uptimeMs),
    ...given({
      batteryPercent: record.batteryPercent,
      charging: record.charging,
      cpuPercent: record.cpuPercent,
      memoryPercent: record.memoryPercent,
      storageFreeBytes: record.storageFreeBytes === undefined ? undefined : BigInt(record.storageFreeBytes),
      temperatureCelsius: record.temperatureCelsius,
    }),
    ...(located
      ? {
          location: {
            latitude,
            longitude,
            ...given({ accuracyMeters: record.accuracyMeters, altitudeMeters: record.altitudeMeters }),
          },
        }
      : {}),
    ...(connected
      ? { network: { type: networkType ?? 0, carrier: carrier ?? "", ...given({ signalDbm }) } }
      : {}),
    securityCounter: BigInt(record.securityCounter),
    ...(record.imageSha256 === undefined ? {} : { imageSha256: new Uint8Array(record.imageSha256) }),
  };
}

function countMessage({ name, count }: CountByName): { name: string; count: bigint } {
  return { name, count: BigInt(count) };
}

type Given<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

/** Only what is set: an absent reading and a zero are different on the wire. */
function given<T extends object>(fields: T): Given<T> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Given<T>;
}
