import { Text } from "@mantine/core";
import { ErrorService, type MissingBuild } from "../../../../gen/ota/v1/error_service_pb.js";
import { useList } from "../../data/use-list.ts";
import { CopyText } from "../../ui/copy-text.tsx";
import { type Column, DataTable } from "../../ui/data-table.tsx";
import { count } from "../../ui/format.ts";
import { Link } from "../../ui/link.tsx";
import { Section } from "../../ui/section.tsx";
import { TimeAgo } from "../../ui/time.tsx";

/** The builds that crashed lately and of which no symbol file is there. */
export function MissingBuilds() {
  const pages = useList(ErrorService.method.listSymbolFiles, {}, ({ missingBuilds }) => missingBuilds);
  return (
    <Section
      title="Missing"
      description="Builds without a symbol file in the newest stacks of the 100 native and microcontrollers’ groups seen last"
      flush
    >
      <DataTable
        name="missing builds"
        columns={columns}
        pages={pages}
        keyOf={({ buildId }) => buildId}
        empty={
          <Text size="sm" px="md" pb="md">
            None: each of their builds has its file, or their stacks name no build.
          </Text>
        }
      />
    </Section>
  );
}

const columns: readonly Column<MissingBuild>[] = [
  {
    id: "build",
    header: "Build",
    cell: ({ buildId }) => <CopyText text={buildId} shown={shortened(buildId)} />,
  },
  { id: "module", header: "Program", cell: ({ module }) => module || "the device’s only one", wide: true },
  { id: "groups", header: "Groups", cell: ({ groupCount }) => count(groupCount), numeric: true, width: 80 },
  {
    id: "last",
    header: "Seen last",
    cell: ({ groupId, lastSeenTime }) => (
      <Link to="/crashes/$groupId" params={{ groupId }}>
        <TimeAgo at={lastSeenTime} />
      </Link>
    ),
    numeric: true,
  },
];

function shortened(buildId: string): string {
  return buildId.length > mostShown ? `${buildId.slice(0, mostShown)}…` : buildId;
}

/** Digits of a build id that tell builds apart for people. */
const mostShown = 16;
