import { Code, Stack, Text } from "@mantine/core";
import type { ErrorOccurrence } from "../../../gen/ota/v1/error_group_pb.js";
import { ErrorService } from "../../../gen/ota/v1/error_service_pb.js";
import { usePages } from "../data/use-pages.ts";
import { type Column, DataTable } from "../ui/data-table.tsx";
import { Nothing } from "../ui/nothing.tsx";
import { Section } from "../ui/section.tsx";
import { Status } from "../ui/status.tsx";
import { Time } from "../ui/time.tsx";
import { severities } from "../words/crash-words.ts";
import { ErrorGroupLink } from "./error-group-link.tsx";

/** The errors and crashes that a device reported, newest first. */
export function ErrorPanel({ deviceId }: { readonly deviceId: string }) {
  const pages = usePages(
    ErrorService.method.listErrorOccurrences,
    { deviceId },
    { rowsOf: (answer) => answer.occurrences, everyMs: refreshMs },
  );
  return (
    <Section title="Errors" flush>
      <DataTable
        name="errors"
        columns={columns}
        pages={pages}
        keyOf={({ id }) => id}
        empty={<Nothing title="No errors">It has reported none that is still kept.</Nothing>}
      />
    </Section>
  );
}

const refreshMs = 10_000;

const columns: readonly Column<ErrorOccurrence>[] = [
  { id: "time", header: "When", cell: ({ receiveTime }) => <Time at={receiveTime} />, width: 170 },
  {
    id: "what",
    header: "What happened",
    cell: ({ groupId, report }) => (
      <Stack gap={0}>
        <Text size="sm" component="div">
          <ErrorGroupLink groupId={groupId}>{report?.code}</ErrorGroupLink>
        </Text>
        <Text size="xs" c="dimmed" lineClamp={2}>
          {report?.message}
        </Text>
      </Stack>
    ),
  },
  {
    id: "severity",
    header: "Severity",
    cell: ({ report }) =>
      report?.fatal === true ? (
        <Status tone="bad" text="Crash" />
      ) : (
        report !== undefined && <Status {...severities[report.severity]} />
      ),
    width: 120,
  },
  {
    id: "version",
    header: "Version",
    cell: ({ firmwareVersion }) => firmwareVersion,
    wide: true,
    width: 110,
  },
  {
    id: "boot",
    header: "Boot",
    cell: ({ bootId }) => (bootId === "" ? "—" : <Code>{bootId.slice(0, 8)}</Code>),
    wide: true,
    width: 100,
  },
];
