import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Card, Stack } from "@mantine/core";
import { getRouteApi } from "@tanstack/react-router";
import { ErrorGroupState } from "../../../gen/ota/v1/error_group_pb.js";
import { ErrorService } from "../../../gen/ota/v1/error_service_pb.js";
import { type crashAges, crashOrders, type crashStates } from "../addresses/crash-search.ts";
import { usePages } from "../data/use-pages.ts";
import { useSession } from "../session/session.tsx";
import { DataTable } from "../ui/data-table.tsx";
import { LinkButton } from "../ui/link.tsx";
import { Nothing } from "../ui/nothing.tsx";
import { Page } from "../ui/page.tsx";
import { useNow } from "../ui/use-now.ts";
import { groupColumns } from "./list/group-columns.tsx";
import { GroupFilters } from "./list/group-filters.tsx";
import { MergeBar } from "./list/merge-bar.tsx";
import { useChosenGroups } from "./list/use-chosen-groups.ts";

const route = getRouteApi("/crashes");

/** Errors and crashes of the whole fleet, those of one cause together. */
export function CrashListPage() {
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const mayMerge = useSession().can(ErrorService.method.mergeErrorGroups);
  const chosen = useChosenGroups();
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
  const isNarrowed = Object.keys(search).some((key) => key !== "order" && key !== "state") || state !== "all";
  return (
    <Page
      title="Crashes"
      description="Errors and crashes that devices reported, those with the same cause together."
      actions={
        <>
          <LinkButton to="/crashes/rules" variant="default" size="sm">
            Grouping rules
          </LinkButton>
          <LinkButton to="/crashes/symbols" variant="default" size="sm">
            Symbol files
          </LinkButton>
        </>
      }
    >
      <Card withBorder padding="md" component="section" aria-label="Error groups">
        <Stack gap="sm" mb="sm">
          <GroupFilters search={search} onChange={(next) => void navigate({ search: next, replace: true })} />
          {mayMerge && <MergeBar chosen={chosen} />}
        </Stack>
        <Card.Section>
          <DataTable
            name="error groups"
            columns={groupColumns(mayMerge ? chosen : undefined)}
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

const statesOf: Readonly<Record<(typeof crashStates)[number], readonly ErrorGroupState[]>> = {
  open: [ErrorGroupState.OPEN],
  resolved: [ErrorGroupState.RESOLVED],
  ignored: [ErrorGroupState.IGNORED],
  all: [],
};
