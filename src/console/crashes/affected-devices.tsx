import { type AffectedDevice, ErrorService } from "../../../gen/ota/v1/error_service_pb.js";
import { usePages } from "../data/use-pages.ts";
import { type Column, DataTable } from "../ui/data-table.tsx";
import { count } from "../ui/format.ts";
import { Link } from "../ui/link.tsx";
import { Nothing } from "../ui/nothing.tsx";
import { Section } from "../ui/section.tsx";
import { TimeAgo } from "../ui/time.tsx";

/** The devices on which an error group was seen, those that had it last first. */
export function AffectedDevices({ groupId }: { readonly groupId: string }) {
  const pages = usePages(
    ErrorService.method.listErrorGroupDevices,
    { id: groupId, pageSize: 20 },
    { rowsOf: (answer) => answer.devices, everyMs: refreshMs },
  );
  return (
    <Section title="Devices" flush>
      <DataTable
        name="affected devices"
        columns={columns}
        pages={pages}
        keyOf={({ deviceId }) => deviceId}
        empty={<Nothing title="No device">None of the devices that had it is kept any more.</Nothing>}
      />
    </Section>
  );
}

const refreshMs = 10_000;

const columns: readonly Column<AffectedDevice>[] = [
  {
    id: "device",
    header: "Device",
    cell: ({ deviceId, serialNumber }) => (
      <Link to="/devices/$deviceId" params={{ deviceId }} search={{ tab: "errors" }}>
        {serialNumber}
      </Link>
    ),
  },
  { id: "version", header: "Version then", cell: ({ lastSeenVersion }) => lastSeenVersion },
  { id: "times", header: "Times", cell: ({ occurrenceCount }) => count(occurrenceCount), numeric: true },
  { id: "last", header: "Last", cell: ({ lastSeenTime }) => <TimeAgo at={lastSeenTime} />, numeric: true },
];
