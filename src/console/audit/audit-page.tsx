import { Code, Group, Select, Stack, Text } from "@mantine/core";
import { getRouteApi } from "@tanstack/react-router";
import type { AuditEvent } from "../../../gen/ota/v1/access_pb.js";
import { AccessService } from "../../../gen/ota/v1/access_service_pb.js";
import type { AuditSearch } from "../addresses/audit-search.ts";
import { usePages } from "../data/use-pages.ts";
import { CopyText } from "../ui/copy-text.tsx";
import { type Column, DataTable } from "../ui/data-table.tsx";
import { FilterInput } from "../ui/filter-input.tsx";
import { Link } from "../ui/link.tsx";
import { Nothing } from "../ui/nothing.tsx";
import { Page } from "../ui/page.tsx";
import { Section } from "../ui/section.tsx";
import { Time } from "../ui/time.tsx";

const route = getRouteApi("/audit");

/** Who changed what, when and why. */
export function AuditPage() {
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const pages = usePages(
    AccessService.method.listAuditEvents,
    {
      actor: search.actor ?? "",
      action: search.action ?? "",
      resourceType: search.kind ?? "",
      resourceId: search.resource ?? "",
    },
    { rowsOf: (answer) => answer.events },
  );
  const change = (key: keyof AuditSearch, value: string) => {
    const { [key]: _, ...rest } = search;
    void navigate({ search: value === "" ? rest : { ...rest, [key]: value }, replace: true });
  };
  return (
    <Page
      title="Audit"
      description="Every change, by a person or by a rule. Nothing can be changed or removed here."
    >
      <Section
        title="Events"
        flush
        actions={
          <Group gap="xs">
            <FilterInput
              label="Actor"
              value={search.actor ?? ""}
              onChange={(value) => change("actor", value)}
            />
            <FilterInput
              label="Action"
              value={search.action ?? ""}
              onChange={(value) => change("action", value)}
            />
            <Select
              aria-label="Kind"
              placeholder="Any kind"
              size="xs"
              w={140}
              clearable
              data={kinds}
              value={search.kind ?? null}
              onChange={(value) => change("kind", value ?? "")}
            />
            <FilterInput
              label="Resource id"
              value={search.resource ?? ""}
              onChange={(value) => change("resource", value)}
            />
          </Group>
        }
      >
        <DataTable
          name="audit events"
          columns={columns}
          pages={pages}
          keyOf={({ id }) => id}
          empty={<Nothing title="No event matches">Change or clear the filters above.</Nothing>}
        />
      </Section>
    </Page>
  );
}

const kinds = ["rollout", "firmware", "device", "token", "enrolment_key", "signing_key", "alert"];

const columns: readonly Column<AuditEvent>[] = [
  { id: "time", header: "When", cell: ({ time }) => <Time at={time} />, width: 170 },
  { id: "actor", header: "Who", cell: ({ actor }) => <Actor actor={actor} />, width: "18%" },
  { id: "action", header: "What", cell: ({ action }) => <Code>{action}</Code>, width: 220 },
  { id: "resource", header: "To", cell: (event) => <Resource event={event} />, wide: true, width: 180 },
  { id: "why", header: "Why and how", cell: (event) => <Why event={event} />, wide: true },
];

/** `operator:alice` as it is; a device by the end of its id, which is what tells it apart. */
function Actor({ actor }: { readonly actor: string }) {
  const deviceId = /^device:(?<id>.+)$/.exec(actor)?.groups?.["id"];
  if (deviceId === undefined) return actor;
  return (
    <Link to="/devices/$deviceId" params={{ deviceId }}>
      device …{deviceId.slice(-12)}
    </Link>
  );
}

function Resource({ event: { resourceType, resourceId } }: { readonly event: AuditEvent }) {
  const short = resourceId.length > 14 ? `…${resourceId.slice(-12)}` : resourceId;
  if (resourceType === "rollout") {
    return (
      <Link to="/rollouts/$rolloutId" params={{ rolloutId: resourceId }}>
        rollout {short}
      </Link>
    );
  }
  if (resourceType === "firmware") {
    return (
      <Link to="/firmware/$firmwareId" params={{ firmwareId: resourceId }}>
        firmware {short}
      </Link>
    );
  }
  if (resourceType === "device") {
    return (
      <Link to="/devices/$deviceId" params={{ deviceId: resourceId }}>
        device {short}
      </Link>
    );
  }
  return (
    <>
      {resourceType.replaceAll("_", " ")} <CopyText text={resourceId} shown={short} />
    </>
  );
}

function Why({ event: { reason, details } }: { readonly event: AuditEvent }) {
  const facts = Object.entries(details).filter(([, value]) => value !== "" && value !== reason);
  return (
    <Stack gap={2}>
      {reason !== "" && <Text size="sm">{reason}</Text>}
      {facts.length > 0 && (
        <Text size="xs" c="dimmed" style={{ overflowWrap: "anywhere" }}>
          {facts.map(([name, value]) => `${name}: ${value}`).join(" · ")}
        </Text>
      )}
    </Stack>
  );
}
