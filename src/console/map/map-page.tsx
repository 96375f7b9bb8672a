import { useQuery } from "@connectrpc/connect-query";
import { Button, Card, Group, SimpleGrid, Skeleton, Text } from "@mantine/core";
import { IconList } from "@tabler/icons-react";
import { keepPreviousData } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { useMemo, useState } from "react";
import {
  type DevicePosition,
  type SearchPositionsResponse,
  TelemetryService,
} from "../../../gen/ota/v1/telemetry_service_pb.js";
import { type Box, boxAround, boxText, inhabitedWorld, readBox, wholeWorld, wireBox } from "../charts/box.ts";
import { useChartColors } from "../charts/chart-colors.ts";
import { positionSeries } from "../charts/position-series.ts";
import { WorldMap } from "../charts/world-map.tsx";
import { filterFaultOf } from "../filter/filter-fault.ts";
import { FilterField } from "../filter/filter-field.tsx";
import { Failure } from "../ui/failure.tsx";
import { count, counted } from "../ui/format.ts";
import { Link, LinkButton } from "../ui/link.tsx";
import { Page } from "../ui/page.tsx";
import { Section } from "../ui/section.tsx";
import { TimeAgo } from "../ui/time.tsx";

const route = getRouteApi("/devices/map");

/** Where the devices are now: each of them, or how many where there are too many to show. */
export function MapPage() {
  const search = route.useSearch();
  const { filter = "" } = search;
  const navigate = route.useNavigate();
  const colors = useChartColors();
  // The map moves by itself once it stands: the address follows it, and is only read at first.
  const [shown, setShown] = useState<{ readonly box: Box; readonly times: number } | undefined>(() => {
    const asked = readBox(search.box);
    return asked && { box: asked, times: 0 };
  });
  const box = readBox(search.box) ?? shown?.box ?? wholeWorld;
  const { data, error, isPlaceholderData, refetch } = useQuery(
    TelemetryService.method.searchPositions,
    { ...wireBox(box), filter, maxDevices },
    { placeholderData: keepPreviousData, refetchInterval: refreshMs },
  );
  const fault = filterFaultOf(error);
  // Nobody asked for a part of the world: the one where the devices are.
  if (shown === undefined && (data !== undefined || error !== null)) {
    setShown({ box: boxAround(placesOf(data)) ?? inhabitedWorld, times: 0 });
  }
  const series = useMemo(
    () => positionSeries(data, box, colors),
    // oxlint-disable-next-line react-hooks/exhaustive-deps -- of the box only its edges count
    [data, box.west, box.east, colors],
  );
  const changeBox = (next: Box) =>
    void navigate({ search: { ...(filter === "" ? {} : { filter }), box: boxText(next) }, replace: true });
  const showAt = (next: Box) => {
    setShown({ box: next, times: (shown?.times ?? 0) + 1 });
    changeBox(next);
  };
  return (
    <Page
      title="Map"
      trail={[
        <Link key="list" to="/devices">
          Devices
        </Link>,
      ]}
      aside={
        <Text c="dimmed" className="numbers" role="status">
          {data !== undefined && `${counted(data.totalCount, "device")} here`}
        </Text>
      }
      actions={
        <LinkButton
          to="/devices"
          search={filter === "" ? {} : { filter }}
          variant="default"
          size="sm"
          leftSection={<IconList size={16} aria-hidden />}
        >
          List
        </LinkButton>
      }
    >
      <Card withBorder padding="md" component="section" aria-label="Map">
        <FilterField
          value={filter}
          fault={fault}
          isLoading={isPlaceholderData}
          onChange={(next) =>
            void navigate({
              search: {
                ...(next === "" ? {} : { filter: next }),
                ...(search.box === undefined ? {} : { box: search.box }),
              },
              replace: true,
            })
          }
        />
        {error !== null && fault === undefined && (
          <Failure error={error} doing="find the devices" retry={refetch} />
        )}
        <Card.Section mt="sm">
          {shown === undefined && <Skeleton h={mapHeight} />}
          {shown !== undefined && (
            <WorldMap
              key={shown.times}
              label="Map of the devices"
              box={shown.box}
              height={mapHeight}
              series={series}
              onBox={changeBox}
              onChoose={(chosen) => {
                const { deviceId, cluster } = chosen as {
                  deviceId?: string;
                  cluster?: readonly [number, number];
                };
                if (deviceId !== undefined)
                  void navigate({ to: "/devices/$deviceId", params: { deviceId }, search: {} });
                if (cluster !== undefined) showAt(closer(box, cluster));
              }}
            />
          )}
        </Card.Section>
        <Group mt="sm" gap="xs">
          <Button size="xs" variant="default" onClick={() => showAt(inhabitedWorld)}>
            The whole world
          </Button>
          <Text size="xs" c="dimmed">
            Outlines: Natural Earth. Drag to move, zoom with the wheel or the buttons, choose a circle to come
            closer.
          </Text>
        </Group>
      </Card>
      {data === undefined && error === null && <Skeleton h={80} />}
      {data !== undefined && <Here devices={data.devices} total={data.totalCount} />}
    </Page>
  );
}

/** More single points than this cannot be told apart on a map. */
const maxDevices = 500;

const refreshMs = 15_000;

const mapHeight = "max(320px, calc(100dvh - 330px))";

function placesOf(found: SearchPositionsResponse | undefined) {
  return [...(found?.clusters ?? []), ...(found?.devices ?? []).flatMap(({ location }) => location ?? [])];
}

/** A quarter of a box around a point: what a click on a cluster shows. */
function closer({ south, west, north, east }: Box, [longitude, latitude]: readonly [number, number]): Box {
  const [height, width] = [(north - south) / 8, (east - west) / 8];
  return {
    south: latitude - height,
    west: longitude - width,
    north: latitude + height,
    east: longitude + width,
  };
}

/** The same as text, for those who do not use the map. */
function Here({ devices, total }: { readonly devices: readonly DevicePosition[]; readonly total: bigint }) {
  return (
    <Section title="Devices here" description="Within the part of the map that is shown">
      {devices.length === 0 ? (
        <Text size="sm" c="dimmed">
          {total === 0n
            ? "None. Devices appear here once their heartbeats carry a position."
            : `${counted(total, "device")}: come closer until there are at most ${count(maxDevices)} to see each of them.`}
        </Text>
      ) : (
        <SimpleGrid cols={{ base: 1, sm: 2, lg: 4 }} spacing="xs" verticalSpacing={4}>
          {devices.slice(0, listed).map(({ deviceId, serialNumber, receiveTime }) => (
            <Group key={deviceId} gap="xs" wrap="nowrap" fz="sm">
              <Link to="/devices/$deviceId" params={{ deviceId }} search={{ tab: "map" }} truncate>
                {serialNumber}
              </Link>
              <Text size="xs" c="dimmed">
                <TimeAgo at={receiveTime} />
              </Text>
            </Group>
          ))}
          {devices.length > listed && <Text size="sm">and {count(devices.length - listed)} others</Text>}
        </SimpleGrid>
      )}
    </Section>
  );
}

const listed = 40;
