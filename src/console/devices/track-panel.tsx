import { type Timestamp, timestampDate } from "@bufbuild/protobuf/wkt";
import { useQuery } from "@connectrpc/connect-query";
import { Card, Group, Skeleton, Stack, Text } from "@mantine/core";
import { keepPreviousData } from "@tanstack/react-query";
import { useMemo } from "react";
import { TelemetryService, TimeBasis, type TrackPoint } from "../../../gen/ota/v1/telemetry_service_pb.js";
import type { DeviceSearch } from "../addresses/device-search.ts";
import { type Box, boxAround, longitudeIn } from "../charts/box.ts";
import { type ChartColors, useChartColors } from "../charts/chart-colors.ts";
import { WorldMap } from "../charts/world-map.tsx";
import { Facts } from "../ui/facts.tsx";
import { Failure } from "../ui/failure.tsx";
import { counted } from "../ui/format.ts";
import { Nothing } from "../ui/nothing.tsx";
import { Time } from "../ui/time.tsx";
import { spanRequest, useSpan } from "./measurements/span.ts";
import { SpanPicker } from "./measurements/span-picker.tsx";
import { TimeBasisChoice, timeBasisOf } from "./measurements/time-basis.tsx";

interface TrackPanelProps {
  readonly deviceId: string;
  readonly search: DeviceSearch;
  readonly onChange: (search: DeviceSearch) => void;
}

/** Where a device was over a span of time. */
export function TrackPanel({ deviceId, search, onChange }: TrackPanelProps) {
  const span = useSpan(search);
  const timeBasis = timeBasisOf(search);
  const { data, error, refetch } = useQuery(
    TelemetryService.method.getTrack,
    { deviceId, ...spanRequest(span), maxPoints, timeBasis },
    { placeholderData: keepPreviousData },
  );
  return (
    <Card withBorder padding="md" component="section" aria-label="Map">
      <Stack gap="xs" mb="md">
        <SpanPicker span={span} search={search} onChange={onChange} />
        <TimeBasisChoice search={search} onChange={onChange} />
      </Stack>
      {error !== null && <Failure error={error} doing="read its track" retry={refetch} />}
      {data === undefined && error === null && <Skeleton h={mapHeightPx} />}
      {data !== undefined && data.points.length === 0 && (
        <Nothing title="No position in this time">
          Its heartbeats carried none. Choose a longer or another time above.
        </Nothing>
      )}
      {data !== undefined && data.points.length > 0 && (
        <Track
          key={`${search.range ?? ""} ${search.from ?? ""} ${timeBasis}`}
          points={data.points}
          timeBasis={timeBasis}
        />
      )}
    </Card>
  );
}

const mapHeightPx = 420;

/** As many as a line of this size can show. */
const maxPoints = 1_000;

interface TrackProps {
  readonly points: readonly TrackPoint[];
  /** By which their times are told. */
  readonly timeBasis: TimeBasis;
}

function Track({ points, timeBasis }: TrackProps) {
  const colors = useChartColors();
  // The reader's place on the map stays when the device moves on; another span begins anew.
  const begin = useMemo<Box | undefined>(
    () => boxAround(points.flatMap(({ location }) => location ?? [])),
    // oxlint-disable-next-line react-hooks/exhaustive-deps -- only at first, see above
    [],
  );
  const series = useMemo(
    () => (begin === undefined ? [] : trackSeries({ points, timeBasis }, begin, colors)),
    [points, timeBasis, begin, colors],
  );
  const first = points[0];
  const last = points.at(-1);
  if (begin === undefined) return null;
  return (
    <>
      <Card.Section>
        <WorldMap
          label={`Its track, ${counted(points.length, "position")}`}
          box={begin}
          height={mapHeightPx}
          series={series}
        />
      </Card.Section>
      <Group mt="md" align="flex-start" gap="xl">
        <Facts
          facts={[
            ["Positions", counted(points.length, "position")],
            ["Last", <Place key="l" point={last} timeBasis={timeBasis} />],
            ["First", <Place key="f" point={first} timeBasis={timeBasis} />],
          ]}
        />
      </Group>
      <Text size="xs" c="dimmed" mt="xs">
        Outlines: Natural Earth.
      </Text>
    </>
  );
}

interface PlaceProps {
  readonly point: TrackPoint | undefined;
  readonly timeBasis: TimeBasis;
}

function Place({ point, timeBasis }: PlaceProps) {
  return (
    <>
      {placeText(point)} · <Time at={point && timeOf(point, timeBasis)} />
    </>
  );
}

/** When a device was there; the service leaves out a device's time that cannot be right. */
function timeOf({ receiveTime, deviceTime }: TrackPoint, timeBasis: TimeBasis): Timestamp | undefined {
  return timeBasis === TimeBasis.DEVICE ? (deviceTime ?? receiveTime) : receiveTime;
}

function placeText(point: TrackPoint | undefined): string {
  if (point?.location === undefined) return "—";
  const { latitude, longitude, accuracyMeters } = point.location;
  const within = accuracyMeters === undefined ? "" : ` ± ${Math.round(accuracyMeters)} m`;
  return `${latitude.toFixed(5)}, ${longitude.toFixed(5)}${within}`;
}

function trackSeries({ points, timeBasis }: TrackProps, box: Box, colors: ChartColors): readonly object[] {
  const places = points.flatMap((point) => {
    const { location } = point;
    const at = timeOf(point, timeBasis);
    if (location === undefined || at === undefined) return [];
    return [
      {
        value: [longitudeIn(box, location.longitude), location.latitude],
        text: `${moment.format(timestampDate(at))}\n${placeText(point)}`,
      },
    ];
  });
  const tooltip = {
    formatter: ({ data }: { data: { text: string } }) => {
      const element = document.createElement("span");
      element.style.whiteSpace = "pre-line";
      element.textContent = data.text;
      return element;
    },
  };
  const shared = { type: "scatter", coordinateSystem: "geo", tooltip } as const;
  return [
    {
      id: "line",
      type: "lines",
      coordinateSystem: "geo",
      polyline: true,
      silent: true,
      lineStyle: { color: colors.busy, width: 2, opacity: 0.8 },
      data: [{ coords: places.map(({ value }) => value) }],
    },
    { ...shared, id: "points", symbolSize: 5, itemStyle: { color: colors.busy }, data: places },
    {
      ...shared,
      id: "last",
      symbolSize: 14,
      itemStyle: { color: colors.bad, borderColor: colors.surface, borderWidth: 2 },
      data: places.slice(-1),
    },
  ];
}

const moment = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
