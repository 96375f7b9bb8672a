import { createConnectQueryKey, useQuery } from "@connectrpc/connect-query";
import { Button, Card, Group, Switch, Text } from "@mantine/core";
import { IconMap, IconRefresh } from "@tabler/icons-react";
import { useQueryClient } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { useState } from "react";
import { DeviceService } from "../../../gen/ota/v1/device_service_pb.js";
import { type DeviceListSearch, deviceOrders } from "../addresses/device-search.ts";
import { usePages } from "../data/use-pages.ts";
import { filterFaultOf } from "../filter/filter-fault.ts";
import { FilterField } from "../filter/filter-field.tsx";
import { useSession } from "../session/session.tsx";
import { count, counted } from "../ui/format.ts";
import { LinkButton } from "../ui/link.tsx";
import { LiveStatus } from "../ui/live-status.tsx";
import { Nothing } from "../ui/nothing.tsx";
import { Page } from "../ui/page.tsx";
import { BulkModal, type BulkTarget, everyDevice } from "./list/bulk-modal.tsx";
import { DeviceTable } from "./list/device-table.tsx";
import { SavedFilters } from "./list/saved-filters.tsx";
import { useLiveDevices } from "./list/use-live-devices.ts";
import { maxChosen, useSelection } from "./list/use-selection.ts";

const route = getRouteApi("/devices");

/** All devices: filtered, ordered, counted and paged by the service, however many they are. */
export function DeviceListPage() {
  const search = route.useSearch();
  const { filter = "", order = deviceOrders[0], retired = false } = search;
  const navigate = route.useNavigate();
  const queries = useQueryClient();
  const { can } = useSession();
  const selection = useSelection();
  const [target, setTarget] = useState<BulkTarget | undefined>();
  const pages = usePages(
    DeviceService.method.listDevices,
    { filter, orderBy: order, showRetired: retired, pageSize },
    { rowsOf: (answer) => answer.devices, everyMs: refreshMs },
  );
  const live = useLiveDevices(pages.rows);
  const total = useQuery(DeviceService.method.countDevices, { filter }, { refetchInterval: refreshMs });
  const fault = filterFaultOf(pages.error);
  const matched = total.data === undefined ? undefined : Number(total.data.count);
  const change = (next: DeviceListSearch) => {
    selection.clear();
    void navigate({ search: clean(next), replace: true });
  };
  const readAgain = () =>
    queries.resetQueries({
      queryKey: createConnectQueryKey({ schema: DeviceService, cardinality: undefined }),
    });
  const mayChange = can(DeviceService.method.batchUpdateDevices);
  return (
    <Page
      title="Devices"
      aside={
        <>
          <Text c="dimmed" className="numbers" role="status">
            {fault === undefined &&
              matched !== undefined &&
              (filter === "" ? count(matched) : `${counted(matched, "match", "matches")}`)}
          </Text>
          {live.stream !== undefined && <LiveStatus state={live.stream.state} />}
        </>
      }
      actions={
        <LinkButton
          to="/devices/map"
          search={filter === "" ? {} : { filter }}
          variant="default"
          size="sm"
          leftSection={<IconMap size={16} aria-hidden />}
        >
          Map
        </LinkButton>
      }
    >
      <Card withBorder padding="md" component="section" aria-label="Devices">
        <Group align="flex-start" gap="xs">
          <div style={{ flex: "1 1 360px", minWidth: 0 }}>
            <FilterField
              value={filter}
              fault={fault}
              isLoading={pages.isStale}
              onChange={(next) => change({ ...search, filter: next })}
            />
          </div>
          {can(DeviceService.method.listSavedFilters) && (
            <SavedFilters filter={filter} onChoose={(next) => change({ ...search, filter: next })} />
          )}
        </Group>
        <Group justify="space-between" mt="sm" mb="sm" gap="xs" mih={30}>
          {selection.size > 0 ? (
            <Group gap="xs">
              <Text size="sm" role="status">
                {counted(selection.size, "device")} chosen
                {selection.size === maxChosen && ", the most at once"}
              </Text>
              <Button size="xs" onClick={() => setTarget({ kind: "ids", ids: selection.ids })}>
                Change them…
              </Button>
              <Button size="xs" variant="subtle" onClick={selection.clear}>
                Choose none
              </Button>
            </Group>
          ) : (
            mayChange &&
            matched !== undefined &&
            matched > 0 &&
            fault === undefined && (
              <Button
                size="xs"
                variant="default"
                onClick={() => setTarget({ kind: "filter", filter: filter === "" ? everyDevice : filter })}
              >
                Change all {count(matched)}…
              </Button>
            )
          )}
          <Group gap="md" ml="auto">
            <Switch
              label="Retired too"
              size="xs"
              checked={retired}
              onChange={({ currentTarget }) => {
                const { retired: _, ...rest } = search;
                change(currentTarget.checked ? { ...rest, retired: true } : rest);
              }}
            />
            <Button
              size="xs"
              variant="subtle"
              leftSection={<IconRefresh size={14} aria-hidden />}
              onClick={() => void readAgain()}
            >
              Read again
            </Button>
          </Group>
        </Group>
        <Card.Section>
          {fault === undefined ? (
            <DeviceTable
              pages={{ ...pages, rows: live.rows }}
              total={matched}
              order={order}
              onOrder={(next) => change({ ...search, order: next })}
              selection={mayChange ? selection : undefined}
              empty={<Empty isFiltered={filter !== ""} />}
            />
          ) : (
            <Nothing title="The filter cannot be read">Mend it where it is marked above.</Nothing>
          )}
        </Card.Section>
      </Card>
      <BulkModal
        target={target}
        close={() => setTarget(undefined)}
        changed={async () => {
          selection.clear();
          await readAgain();
        }}
      />
    </Page>
  );
}

/** Large enough to scroll without waiting, small enough to come at once. */
const pageSize = 200;

/** How often what is shown is read again while it is short. */
const refreshMs = 10_000;

function clean({ filter = "", order, retired }: DeviceListSearch): DeviceListSearch {
  return {
    ...(filter === "" ? {} : { filter }),
    ...(order === undefined || order === deviceOrders[0] ? {} : { order }),
    ...(retired === true ? { retired } : {}),
  };
}

function Empty({ isFiltered }: { readonly isFiltered: boolean }) {
  return isFiltered ? (
    <Nothing title="No device matches">Change or clear the filter above.</Nothing>
  ) : (
    <Nothing title="No devices yet">
      Devices enrol with an enrolment key (Access, Enrolment keys). To see how it looks with some, run
      device-ota simulate --count 50.
    </Nothing>
  );
}
