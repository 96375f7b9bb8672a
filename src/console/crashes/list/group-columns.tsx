import { Checkbox, Group, Stack, Text } from "@mantine/core";
import type { ErrorGroup } from "../../../../gen/ota/v1/error_group_pb.js";
import type { Column } from "../../ui/data-table.tsx";
import { count } from "../../ui/format.ts";
import { Link } from "../../ui/link.tsx";
import { Status } from "../../ui/status.tsx";
import { TimeAgo } from "../../ui/time.tsx";
import { groupStates } from "../../words/crash-words.ts";
import { Mark } from "../mark.tsx";
import type { ChosenGroups } from "./use-chosen-groups.ts";

/** What the list of error groups shows of each; with `chosen` each can be chosen. */
export function groupColumns(chosen: ChosenGroups | undefined): readonly Column<ErrorGroup>[] {
  return chosen === undefined ? columns : [choiceOf(chosen), ...columns];
}

function choiceOf({ has, toggle }: ChosenGroups): Column<ErrorGroup> {
  return {
    id: "choice",
    header: <span aria-hidden />,
    cell: (group) => (
      <Checkbox
        size="xs"
        aria-label={`Choose ${group.title || group.code}`}
        checked={has(group.id)}
        onChange={() => toggle(group)}
      />
    ),
    width: 40,
  };
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
