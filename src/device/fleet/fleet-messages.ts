import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { Presence as WirePresence } from "../../../gen/ota/v1/device_pb.js";
import type {
  GetDeviceStatusOverviewResponseSchema,
  HistogramBucketSchema,
  QueryVersionHistoryResponseSchema,
  WatchFleetResponseSchema,
} from "../../../gen/ota/v1/device_service_pb.js";
import type { FleetMoment } from "./fleet-watch.ts";
import type { LoggedPresence } from "./presence-log.ts";
import type { CountByName, FleetStatus, HistogramBucket } from "./status-overview.ts";
import type { VersionHistoryAnswer } from "./version-history.ts";

/** Presence on the wire. */
export const wirePresence: Readonly<Record<LoggedPresence, WirePresence>> = {
  retired: WirePresence.UNSPECIFIED,
  unknown: WirePresence.UNKNOWN,
  online: WirePresence.ONLINE,
  late: WirePresence.LATE,
  offline: WirePresence.OFFLINE,
};

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
    hardwareModels: status.hardwareModels.map(countMessage),
    groups: status.groups.map(countMessage),
    networkTypes: status.networkTypes.map(({ name, count }) =>
      countMessage({ name: `NETWORK_TYPE_${name}`, count }),
    ),
    carriers: status.carriers.map(countMessage),
    batteryPercent: status.batteryPercent.map(bucketMessage),
    storageFreeBytes: status.storageFreeBytes.map(bucketMessage),
    signalDbm: status.signalDbm.map(bucketMessage),
    heartbeatsPerSecond: status.heartbeatsPerSecond,
  };
}

/** A moment of the fleet on the wire. */
export function momentMessage(moment: FleetMoment): MessageInitShape<typeof WatchFleetResponseSchema> {
  return {
    overview: statusMessage(moment.status),
    presenceChanges: moment.changes.map((change) => ({
      deviceId: change.deviceId ?? "",
      presence: wirePresence[change.presence],
      previousPresence: wirePresence[change.previous],
      changeTime: timestampFromDate(change.changedAt),
    })),
    presenceChangesLost: moment.changesLost,
    resumeToken: moment.resumeToken,
  };
}

/** The versions' history on the wire. */
export function historyMessage({
  versions,
  points,
  first,
}: VersionHistoryAnswer): MessageInitShape<typeof QueryVersionHistoryResponseSchema> {
  return {
    versions: [...versions],
    points: points.map(({ countedAt, counts, other, unknown }) => ({
      countTime: timestampFromDate(countedAt),
      deviceCounts: counts.map(BigInt),
      otherCount: BigInt(other),
      unknownCount: BigInt(unknown),
    })),
    ...(first === undefined ? {} : { firstTime: timestampFromDate(first) }),
  };
}

function countMessage({ name, count }: CountByName): { name: string; count: bigint } {
  return { name, count: BigInt(count) };
}

function bucketMessage({
  lower,
  upper,
  count,
}: HistogramBucket): MessageInitShape<typeof HistogramBucketSchema> {
  return {
    ...(lower === undefined ? {} : { lowerBound: lower }),
    ...(upper === undefined ? {} : { upperBound: upper }),
    count: BigInt(count),
  };
}
