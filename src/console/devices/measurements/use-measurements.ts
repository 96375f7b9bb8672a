import type { ConnectError } from "@connectrpc/connect";
import { useQuery } from "@connectrpc/connect-query";
import { keepPreviousData } from "@tanstack/react-query";
import { useMemo } from "react";
import { ErrorService } from "../../../../gen/ota/v1/error_service_pb.js";
import { RolloutService } from "../../../../gen/ota/v1/rollout_service_pb.js";
import {
  type Series,
  SeriesSource,
  TelemetryService,
  type TimeBasis,
} from "../../../../gen/ota/v1/telemetry_service_pb.js";
import {
  type DeviceEvent,
  errorEvents,
  occurrenceRequest,
  rebootEvents,
  updateEvents,
} from "./device-event.ts";
import { uptimeMetric } from "./metric-words.ts";
import { type Span, spanRequest } from "./span.ts";

/** What was measured on a device, and what happened to it. */
export interface DeviceMeasurements {
  /** In the order asked for; also those without values. Undefined before the first answer. */
  readonly series: readonly Series[] | undefined;
  readonly bucketMs: number;
  readonly source: SeriesSource;
  /** Oldest first. */
  readonly events: readonly DeviceEvent[];
  readonly error: ConnectError | null;
  readonly retry: () => void;
  /** Whether the answer for another span is on its way. */
  readonly isStale: boolean;
}

/** The most metrics that are read at once: two calls, of which one slot goes to the uptime. */
export const maxMetrics = 15;

/** Reads metrics and events of a device over a span of time. */
export function useMeasurements(
  deviceId: string,
  /** Undefined: not known yet, so that there is nothing to read. */
  metrics: readonly string[] | undefined,
  span: Span,
  timeBasis: TimeBasis,
): DeviceMeasurements {
  const shared = { deviceId, ...spanRequest(span), timeBasis, maxPoints };
  const options = { placeholderData: keepPreviousData } as const;
  const first = useQuery(
    TelemetryService.method.querySeries,
    { ...shared, metrics: [uptimeMetric, ...(metrics?.slice(0, perCall - 1) ?? [])] },
    { ...options, enabled: metrics !== undefined },
  );
  const others = metrics?.slice(perCall - 1, maxMetrics) ?? [];
  const second = useQuery(
    TelemetryService.method.querySeries,
    { ...shared, metrics: others },
    { ...options, enabled: others.length > 0 },
  );
  const errors = useQuery(
    ErrorService.method.listErrorOccurrences,
    { deviceId, ...occurrenceRequest(span, timeBasis), pageSize: maxEvents },
    options,
  );
  const updates = useQuery(
    RolloutService.method.listDeviceUpdates,
    { deviceId, pageSize: maxEvents, showArchived: true },
    options,
  );
  const { startMs, endMs, isLive } = span;
  const bucketMs = Number(first.data?.bucketDuration?.seconds ?? 0n) * 1_000;
  const series = useMemo(() => {
    if (first.data === undefined) return undefined;
    const [, ...drawn] = first.data.series;
    return [...drawn, ...(others.length > 0 ? (second.data?.series ?? []) : [])];
  }, [first.data, second.data, others.length]);
  const events = useMemo(
    () =>
      [
        ...updateEvents(updates.data?.deviceUpdates ?? [], { startMs, endMs, isLive }),
        ...rebootEvents(first.data?.series[0]?.points ?? [], bucketMs),
        ...errorEvents(errors.data?.occurrences ?? [], { startMs, endMs, isLive }, timeBasis),
      ].toSorted((a, b) => a.atMs - b.atMs),
    [updates.data, errors.data, first.data, bucketMs, startMs, endMs, isLive, timeBasis],
  );
  return {
    series,
    bucketMs,
    source: first.data?.source ?? SeriesSource.UNSPECIFIED,
    events,
    error: first.error ?? second.error ?? errors.error ?? updates.error,
    retry: () => {
      for (const query of [first, second, errors, updates]) if (query.isError) void query.refetch();
    },
    isStale: first.isPlaceholderData || second.isPlaceholderData,
  };
}

/** What `QuerySeriesRequest.metrics` takes. */
const perCall = 8;

/** About one a pixel pair on a wide screen. */
const maxPoints = 600;

/** More than could be told apart. */
const maxEvents = 500;
