import { durationFromMs, timestampFromDate } from "@bufbuild/protobuf/wkt";
import {
  SeriesSource,
  TelemetryService,
  TimeBasis as WireTimeBasis,
} from "../../gen/ota/v1/telemetry_service_pb.js";
import type { ExportOpener } from "../api/download/export-route.ts";
import { apiCalls, type Endpoint, serverStream, unary } from "../api/pipeline/endpoint.ts";
import type { Identity } from "../call/identity.ts";
import { listPage } from "../call/list-page.ts";
import type { PageTokens } from "../call/page-token.ts";
import { readerOf } from "../call/reader.ts";
import { requiredTimeRange, timeRange } from "../call/request-date.ts";
import { invalidArgument } from "../errors.ts";
import { type ExportRequest, exportRequest, exportRequestOfQuery, exportText } from "./export-messages.ts";
import type { HeartbeatExport } from "./heartbeat-export.ts";
import type { Telemetry } from "./telemetry.ts";
import type { TimeBasis } from "./time-basis.ts";

/** The endpoints of TelemetryService. */
export function telemetryEndpoints(telemetry: Telemetry, pageTokens: PageTokens): Endpoint[] {
  const { series, catalogue, track, positions, exports, clock } = telemetry;
  return [
    unary(
      TelemetryService.method.querySeries,
      {
        rate: "operator",
        deviceRate: "device_read",
      },
      async (request, { identity, signal }) => {
        const { deviceId, filter, metrics, startTime, endTime, maxPoints, timeBasis, timeZone } = request;
        // A device that names no device would ask for the whole fleet.
        if (identity.kind === "device" && deviceId === "")
          throw invalidArgument("device_id", "must be the device's own");
        const answer = await series.read(
          {
            devices: deviceId === "" ? { filter } : { id: deviceId },
            metrics,
            ...requiredTimeRange({ startTime, endTime }),
            maxPoints: pointsFor(identity, maxPoints, defaultPoints),
            basis: basisOf(timeBasis),
            timeZone,
          },
          readerOf(identity, signal),
        );
        return {
          series: answer.series.map(({ metric, words, unit, points }) => ({
            metric,
            displayName: words,
            unit,
            points: points.map(({ start, count, ...values }) => ({
              startTime: timestampFromDate(start),
              count: BigInt(count),
              ...values,
            })),
          })),
          bucketDuration: durationFromMs(answer.widthMs),
          source: sources[answer.source],
        };
      },
    ),

    unary(TelemetryService.method.listMetrics, apiCalls, async ({ deviceType, ...request }) => {
      const page = await listPage(
        pageTokens,
        request,
        { deviceType },
        {
          list: (position) => catalogue.list(deviceType, position),
          keyOf: ({ name }) => name,
        },
      );
      return {
        metrics: page.rows.map(({ name, words, builtIn, unit, deviceTypes, firstSeen, lastSeen }) => ({
          name,
          displayName: words,
          builtIn,
          unit,
          deviceTypes: [...deviceTypes],
          ...(firstSeen === undefined ? {} : { firstSeenTime: timestampFromDate(firstSeen) }),
          ...(lastSeen === undefined ? {} : { lastSeenTime: timestampFromDate(lastSeen) }),
        })),
        nextPageToken: page.nextPageToken,
      };
    }),

    serverStream(TelemetryService.method.exportHeartbeats, apiCalls, async function* (request, { signal }) {
      for await (const data of written(exports, exportRequest(request), signal)) yield { data };
    }),

    unary(
      TelemetryService.method.getTrack,
      {
        rate: "operator",
        deviceRate: "device_read",
      },
      async ({ deviceId, startTime, endTime, maxPoints, timeBasis }, { identity, signal }) => {
        const range = timeRange({ startTime, endTime });
        const to = range.to ?? clock.now();
        const from = range.from ?? new Date(to.getTime() - defaultTrackMs);
        const points = await track.read(
          {
            deviceId,
            from,
            to,
            maxPoints: pointsFor(identity, maxPoints, defaultTrackPoints),
            basis: basisOf(timeBasis),
          },
          readerOf(identity, signal),
        );
        return {
          points: points.map((point) => ({
            location: locationOf(point),
            receiveTime: timestampFromDate(point.receivedAt),
            ...(point.madeAt === undefined ? {} : { deviceTime: timestampFromDate(point.madeAt) }),
          })),
        };
      },
    ),

    unary(
      TelemetryService.method.searchPositions,
      apiCalls,
      async ({ south, west, north, east, filter, maxDevices }, { identity, signal }) => {
        const found = await positions.search(
          {
            box: { south, west, north, east },
            filter,
            maxDevices: maxDevices === 0 ? defaultDevices : maxDevices,
          },
          readerOf(identity, signal),
        );
        return {
          totalCount: BigInt(found.totalCount),
          devices: found.devices.map((position) => ({
            deviceId: position.deviceId,
            serialNumber: position.serialNumber,
            location: locationOf(position),
            receiveTime: timestampFromDate(position.receivedAt),
          })),
          clusters: found.clusters.map(({ latitude, longitude, count }) => ({
            latitude,
            longitude,
            count: BigInt(count),
          })),
        };
      },
    ),
  ];
}

/** Opens exports for plain HTTP. */
export function exportOpener(exports: HeartbeatExport): ExportOpener {
  return (deviceId, query, signal) => {
    const request = exportRequestOfQuery(deviceId, query);
    const { contentType, extension } = exportText(request);
    return {
      contentType,
      fileName: `heartbeats-${request.deviceId}.${extension}`,
      chunks: written(exports, request, signal),
    };
  };
}

const defaultPoints = 300;
const defaultTrackPoints = 500;
const defaultTrackMs = 24 * 3_600_000;
const defaultDevices = 500;

const sources = {
  heartbeats: SeriesSource.HEARTBEATS,
  "5m": SeriesSource.FIVE_MINUTES,
  "1h": SeriesSource.ONE_HOUR,
};

function basisOf(basis: WireTimeBasis): TimeBasis {
  return basis === WireTimeBasis.DEVICE ? "device" : "receive";
}

/** How many points to give; a device gets the default at most. */
function pointsFor({ kind }: Identity, asked: number, byDefault: number): number {
  if (asked === 0) return byDefault;
  return kind === "device" ? Math.min(asked, byDefault) : asked;
}

function written(exports: HeartbeatExport, request: ExportRequest, signal: AbortSignal) {
  const text = exportText(request);
  return exports.write({ ...request, header: text.header, line: (record) => text.line(record), signal });
}

function locationOf(place: {
  readonly latitude: number;
  readonly longitude: number;
  readonly accuracyMeters: number | undefined;
  readonly altitudeMeters: number | undefined;
  readonly fixTime: Date | undefined;
}) {
  const { latitude, longitude, accuracyMeters, altitudeMeters, fixTime } = place;
  return {
    latitude,
    longitude,
    ...(accuracyMeters === undefined ? {} : { accuracyMeters }),
    ...(altitudeMeters === undefined ? {} : { altitudeMeters }),
    ...(fixTime === undefined ? {} : { fixTime: timestampFromDate(fixTime) }),
  };
}
