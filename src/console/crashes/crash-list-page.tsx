import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Card, Group, SegmentedControl, Select, Stack, Switch, Text } from "@mantine/core";
import { getRouteApi } from "@tanstack/react-router";
import { type ErrorGroup, ErrorGroupState } from "../../../gen/ota/v1/error_group_pb.js";
import { ErrorService } from "../../../gen/ota/v1/error_service_pb.js";
import { type CrashListSearch, crashAges, crashOrders, crashStates } from "../addresses/crash-search.ts";
import { usePages } from "../data/use-pages.ts";
import { useKnownValues } from "../filter/use-known-values.ts";
import { type Column, DataTable } from "../ui/data-table.tsx";
import { FilterInput } from "../ui/filter-input.tsx";
import { count } from "../ui/format.ts";
import { Link } from "../ui/link.tsx";
import { Nothing } from "../ui/nothing.tsx";
import { Page } from "../ui/page.tsx";
import { Status } from "../ui/status.tsx";
import { TimeAgo } from "../ui/time.tsx";
import { useNow } from "../ui/use-now.ts";
import { groupStates } from "../words/crash-words.ts";
import { Mark } from "./mark.tsx";

const route = getRouteApi("/crashes");

/** Errors and crashes of the whole fleet, those of one cause together. */
export function CrashListPage() {
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const known = useKnownValues();
  const { state = "open", order = crashOrders[0], new: age } = search;
  // To the hour, so that the list is not another one with each drawing.
  const hour = Math.floor(useNow(60_000).getTime() / 3_600_000) * 3_600_000;
  const since = age === undefined ? undefined : timestampFromMs(hour - agesMs[age]);
  const pages = usePages(
    ErrorService.method.listErrorGroups,
    {
      states: [...statesOf[state]],
      fatalOnly: search.fatal ?? false,
      firmwareVersion: search.version ?? "",
      deviceType: search.type ?? "",
      text: search.text ?? "",
      orderBy: order,
      ...(since === undefined ? {} : { firstSeenSince: since }),
    },
    { rowsOf: (answer) => answer.groups, everyMs: refreshMs },
  );
  const change = (key: keyof CrashListSearch, value: string | true) => {
    const { [key]: _, ...rest } = search;
    void navigate({
      search: (value === "" ? rest : { ...rest, [key]: value }) as CrashListSearch,
      replace: true,
    });
  };
  const isNarrowed = Object.keys(search).some((key) => key !== "order" && key !== "state") || state !== "all";
  return (
    <Page
      title="Crashes"
      description="Errors and crashes that devices reported, those with the same cause together."
    >
      <Card withBorder padding="md" component="section" aria-label="Error groups">
        <Group gap="xs" mb="sm">
          <SegmentedControl
            size="xs"
            aria-label="State"
            value={state}
            data={crashStates.map((value) => ({ value, label: stateLabels[value] }))}
            onChange={(value) => change("state", value === "open" ? "" : value)}
          />
          <FilterInput
            label="Title or code"
            value={search.text ?? ""}
            onChange={(value) => change("text", value)}
          />
          <Choice
            label="Version"
            none="Any version"
            value={search.version}
            values={known["firmware_version"] ?? []}
            onChange={(value) => change("version", value)}
          />
          <Choice
            label="Device type"
            none="Any type"
            value={search.type}
            values={known["device_type"] ?? []}
            onChange={(value) => change("type", value)}
          />
          <Select
            aria-label="First seen"
            placeholder="Of any age"
            size="xs"
            w={140}
            clearable
            data={crashAges.map((value) => ({ value, label: `New in ${value}` }))}
            value={age ?? null}
            onChange={(value) => change("new", value ?? "")}
          />
          <Select
            aria-label="Order"
            size="xs"
            w={160}
            allowDeselect={false}
            data={crashOrders.map((value) => ({ value, label: orderLabels[value] }))}
            value={order}
            onChange={(value) => change("order", value === crashOrders[0] ? "" : (value ?? ""))}
          />
          <Switch
            label="Crashes only"
            size="xs"
            checked={search.fatal ?? false}
            onChange={({ currentTarget }) => change("fatal", currentTarget.checked || "")}
          />
        </Group>
        <Card.Section>
          <DataTable
            name="error groups"
            columns={columns}
            pages={pages}
            keyOf={({ id }) => id}
            empty={
              isNarrowed ? (
                <Nothing title={search.state === undefined ? "Nothing open" : "No such group"}>
                  {Object.keys(search).length === 0
                    ? "No error that devices reported is open. Choose All above for those that were resolved or ignored."
                    : "Choose other filters above."}
                </Nothing>
              ) : (
                <Nothing title="No errors yet">
                  Devices report errors and crashes with their heartbeats.
                </Nothing>
              )
            }
          />
        </Card.Section>
      </Card>
    </Page>
  );
}

/** Groups grow slowly; what rises is seen soon enough. */
const refreshMs = 10_000;

const agesMs: Readonly<Record<(typeof crashAges)[number], number>> = {
  "24h": 86_400_000,
  "7d": 7 * 86_400_000,
  "30d": 30 * 86_400_000,
};

const stateLabels = { open: "Open", resolved: "Resolved", ignored: "Ignored", all: "All" } as const;

const statesOf: Readonly<Record<(typeof crashStates)[number], readonly ErrorGroupState[]>> = {
  open: [ErrorGroupState.OPEN],
  resolved: [ErrorGroupState.RESOLVED],
  ignored: [ErrorGroupState.IGNORED],
  all: [],
};

const orderLabels: Readonly<Record<(typeof crashOrders)[number], string>> = {
  "last_seen_time desc": "Latest seen first",
  "first_seen_time desc": "Newest first",
  "occurrence_count desc": "Most frequent first",
  "device_count desc": "Most devices first",
};

interface ChoiceProps {
  readonly label: string;
  readonly none: string;
  readonly value: string | undefined;
  readonly values: readonly string[];
  readonly onChange: (value: string) => void;
}

/** One of the values that exist in the fleet; one that the address names is offered too. */
function Choice({ label, none, value, values, onChange }: ChoiceProps) {
  return (
    <Select
      aria-label={label}
      placeholder={none}
      size="xs"
      w={150}
      clearable
      searchable
      data={[...new Set([...(value === undefined ? [] : [value]), ...values])]}
      value={value ?? null}
      onChange={(next) => onChange(next ?? "")}
    />
  );
}

const columns: readonly Column<ErrorGroup>[] = [
  {
    id: "title",
    header: "What happened",
    cell: ({ id, title, code, fatal, regressTime }) => (
      <Stack gap={0}>
        <Group gap={6}>
          <Link to="/crashes/$groupId" params={{ groupId: id }} fw={500}>
            {title || code}
          </Link>
          {fatal && <Mark tone="bad" text="Crash" />}
          {regressTime !== undefined && <Mark tone="warn" text="Came back" />}
        </Group>
        <Text size="xs" c="dimmed">
          {code}
        </Text>
      </Stack>
    ),
  },
  {
    id: "state",
    header: "State",
    cell: ({ state }) => <Status {...groupStates[state]} />,
    wide: true,
    width: 110,
  },
  {
    id: "versions",
    header: "Versions",
    cell: ({ firstSeenVersion, lastSeenVersion }) =>
      firstSeenVersion === lastSeenVersion ? firstSeenVersion : `${firstSeenVersion} to ${lastSeenVersion}`,
    wide: true,
    width: 160,
  },
  {
    id: "times",
    header: "Times",
    cell: ({ occurrenceCount }) => count(occurrenceCount),
    numeric: true,
    width: 80,
  },
  {
    id: "devices",
    header: "Devices",
    cell: ({ deviceCount }) => count(deviceCount),
    numeric: true,
    wide: true,
    width: 90,
  },
  {
    id: "first",
    header: "First seen",
    cell: ({ firstSeenTime }) => <TimeAgo at={firstSeenTime} />,
    numeric: true,
    wide: true,
    width: 120,
  },
  {
    id: "last",
    header: "Last seen",
    cell: ({ lastSeenTime }) => <TimeAgo at={lastSeenTime} />,
    numeric: true,
    width: 120,
  },
];
