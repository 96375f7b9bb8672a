import { Group, Select, Switch } from "@mantine/core";
import { IconPlus } from "@tabler/icons-react";
import { getRouteApi } from "@tanstack/react-router";
import { type Firmware, FirmwareState } from "../../../gen/ota/v1/firmware_pb.js";
import { FirmwareService } from "../../../gen/ota/v1/firmware_service_pb.js";
import { type FirmwareListSearch, firmwareStateChoices } from "../addresses/firmware-search.ts";
import { usePages } from "../data/use-pages.ts";
import { useSession } from "../session/session.tsx";
import { type Column, DataTable } from "../ui/data-table.tsx";
import { FilterInput } from "../ui/filter-input.tsx";
import { bytes } from "../ui/format.ts";
import { Link, LinkButton } from "../ui/link.tsx";
import { Nothing } from "../ui/nothing.tsx";
import { Page } from "../ui/page.tsx";
import { Section } from "../ui/section.tsx";
import { Status } from "../ui/status.tsx";
import { TimeAgo } from "../ui/time.tsx";
import { firmwareStates, firmwareTargets } from "../words/firmware-words.ts";
import { RecalledElsewhere } from "./recalled-elsewhere.tsx";

const route = getRouteApi("/firmware");

/** All firmware, newest first. */
export function FirmwareListPage() {
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const { can } = useSession();
  const change = (next: FirmwareListSearch) => void navigate({ search: next, replace: true });
  const pages = usePages(
    FirmwareService.method.listFirmware,
    {
      product: search.product ?? "",
      states: search.state === undefined ? [] : [states[search.state]],
      showDeleted: search.deleted ?? false,
    },
    { rowsOf: (answer) => answer.firmware },
  );
  const create = can(FirmwareService.method.createFirmware) ? (
    <LinkButton to="/firmware/new" size="sm" leftSection={<IconPlus size={16} aria-hidden />}>
      New firmware
    </LinkButton>
  ) : undefined;
  const isFiltered = Object.keys(search).length > 0;
  return (
    <Page
      title="Firmware"
      description="Every version of every product: create it, upload its content, have it signed, deploy it."
      actions={create}
    >
      <Section
        title="Catalogue"
        flush
        actions={
          <Group gap="sm">
            <FilterInput
              label="Product"
              value={search.product ?? ""}
              onChange={(product) => change(withValue(search, "product", product))}
            />
            <Select
              aria-label="State"
              placeholder="Any state"
              size="xs"
              w={130}
              clearable
              value={search.state ?? null}
              data={firmwareStateChoices.map((value) => ({
                value,
                label: firmwareStates[states[value]].text,
              }))}
              onChange={(state) => change(withValue(search, "state", state ?? ""))}
            />
            <Switch
              label="Deleted too"
              size="xs"
              checked={search.deleted ?? false}
              onChange={({ currentTarget }) =>
                change(withValue(search, "deleted", currentTarget.checked ? true : ""))
              }
            />
          </Group>
        }
      >
        <DataTable
          name="firmware"
          columns={columns}
          pages={pages}
          keyOf={({ id }) => id}
          empty={
            isFiltered ? (
              <Nothing title="No firmware matches">Change or clear the filters above.</Nothing>
            ) : (
              <Nothing title="No firmware yet" actions={create}>
                {can(FirmwareService.method.createFirmware)
                  ? "Create the first one: choose its file, and the rest follows."
                  : "An operator has to create the first one."}
              </Nothing>
            )
          }
        />
      </Section>
      <RecalledElsewhere />
    </Page>
  );
}

const states = {
  draft: FirmwareState.DRAFT,
  uploaded: FirmwareState.UPLOADED,
  released: FirmwareState.RELEASED,
} as const;

const columns: readonly Column<Firmware>[] = [
  {
    id: "version",
    header: "Version",
    cell: (firmware) => (
      <Link to="/firmware/$firmwareId" params={{ firmwareId: firmware.id }} fw={500}>
        {firmware.product} {firmware.version}
      </Link>
    ),
  },
  {
    id: "state",
    header: "State",
    cell: ({ state, deleteTime, recall, damagedTime }) => {
      if (deleteTime !== undefined) return <Status tone="idle" text="Deleted" />;
      if (damagedTime !== undefined) return <Status tone="bad" text="Damaged" />;
      if (recall !== undefined) return <Status tone="bad" text="Recalled" />;
      return <Status tone={firmwareStates[state].tone} text={firmwareStates[state].text} />;
    },
  },
  { id: "targets", header: "For", cell: firmwareTargets, wide: true },
  { id: "size", header: "Size", cell: ({ sizeBytes }) => bytes(sizeBytes), numeric: true, wide: true },
  {
    id: "signed",
    header: "Signed by",
    cell: ({ signatures }) =>
      signatures.map(({ keyName, keyId }) => keyName || keyId.slice(0, 8)).join(", ") || "—",
    wide: true,
  },
  { id: "created", header: "Created", cell: ({ createTime }) => <TimeAgo at={createTime} />, numeric: true },
];

function withValue<S extends object>(search: S, key: keyof S, value: string | true): S {
  const { [key]: _, ...rest } = search;
  return (value === "" ? rest : { ...rest, [key]: value }) as S;
}
