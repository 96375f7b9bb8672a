import { useQuery } from "@connectrpc/connect-query";
import { Select, SimpleGrid, Table, Text, VisuallyHidden } from "@mantine/core";
import { skipToken } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import type { Firmware } from "../../../gen/ota/v1/firmware_pb.js";
import { FirmwareService } from "../../../gen/ota/v1/firmware_service_pb.js";
import { Failure } from "../ui/failure.tsx";
import { bytes } from "../ui/format.ts";
import { Link } from "../ui/link.tsx";
import { Nothing } from "../ui/nothing.tsx";
import { Page } from "../ui/page.tsx";
import { Section } from "../ui/section.tsx";
import { firmwareKind, firmwareStates, firmwareTitle } from "../words/firmware-words.ts";

const route = getRouteApi("/firmware/compare");

/** Two versions side by side; what differs stands out. */
export function FirmwareComparePage() {
  const { a, b } = route.useSearch();
  const navigate = route.useNavigate();
  const list = useQuery(FirmwareService.method.listFirmware, { pageSize: 1_000 });
  const left = useQuery(FirmwareService.method.getFirmware, a === undefined ? skipToken : { id: a });
  const right = useQuery(FirmwareService.method.getFirmware, b === undefined ? skipToken : { id: b });
  const choices = (list.data?.firmware ?? []).map((each) => ({ value: each.id, label: firmwareTitle(each) }));
  const failure = left.error ?? right.error ?? list.error;
  const first = left.data?.firmware;
  const second = right.data?.firmware;
  const choose = (side: "a" | "b", id: string | null) =>
    void navigate({ search: (search) => ({ ...search, [side]: id ?? undefined }), replace: true });
  return (
    <Page
      title="Compare firmware"
      trail={[
        <Link key="list" to="/firmware">
          Firmware
        </Link>,
      ]}
    >
      <SimpleGrid cols={{ base: 1, sm: 2 }} maw={820}>
        <Select
          label="This version"
          searchable
          data={choices}
          value={a ?? null}
          onChange={(id) => choose("a", id)}
        />
        <Select
          label="With this one"
          searchable
          data={choices}
          value={b ?? null}
          onChange={(id) => choose("b", id)}
        />
      </SimpleGrid>
      {failure !== null && <Failure error={failure} doing="compare" />}
      {first !== undefined && second !== undefined ? (
        <Differences first={first} second={second} />
      ) : (
        failure === null && <Nothing title="Choose two versions">What differs will be marked.</Nothing>
      )}
    </Page>
  );
}

function Differences({ first, second }: { readonly first: Firmware; readonly second: Firmware }) {
  return (
    <Section title="Differences" flush>
      <Table aria-label="Differences" verticalSpacing={6} layout="fixed">
        <Table.Thead>
          <Table.Tr>
            <Table.Th w="22%">
              <VisuallyHidden>What</VisuallyHidden>
            </Table.Th>
            {[first, second].map((each) => (
              <Table.Th key={each.id}>
                <Link to="/firmware/$firmwareId" params={{ firmwareId: each.id }}>
                  {firmwareTitle(each)}
                </Link>
              </Table.Th>
            ))}
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {aspects.map(([name, read]) => {
            const texts = [read(first), read(second)];
            const differs = texts[0] !== texts[1];
            return (
              <Table.Tr key={name} {...(differs ? { bg: "var(--ota-hover)" } : {})}>
                <Table.Th scope="row" fw={differs ? 600 : 400}>
                  {name}
                  {differs && (
                    <Text span size="xs" c="dimmed">
                      {" "}
                      differs
                    </Text>
                  )}
                </Table.Th>
                {texts.map((text, side) => (
                  <Table.Td key={side === 0 ? "a" : "b"} fw={differs ? 600 : 400} style={cellStyle}>
                    {text || "—"}
                  </Table.Td>
                ))}
              </Table.Tr>
            );
          })}
        </Table.Tbody>
      </Table>
    </Section>
  );
}

const cellStyle = { overflowWrap: "anywhere", whiteSpace: "pre-wrap" } as const;

const aspects: readonly (readonly [name: string, read: (firmware: Firmware) => string])[] = [
  ["State", ({ state }) => firmwareStates[state].text],
  ["Kind", firmwareKind],
  ["Reported as", ({ reportedVersions }) => reportedVersions.toSorted().join(", ")],
  ["Device types", ({ deviceTypes }) => deviceTypes.toSorted().join(", ")],
  ["Hardware models", ({ hardwareModels }) => hardwareModels.toSorted().join(", ") || "every model"],
  ["Size", ({ sizeBytes }) => `${bytes(sizeBytes)} (${sizeBytes})`],
  ["SHA-256", ({ sha256 }) => sha256],
  ["Signed by", ({ signatures }) => signatures.map(({ keyName, keyId }) => keyName || keyId).join(", ")],
  ["Security counter", ({ securityCounter }) => String(securityCounter)],
  ["Security fix", ({ securityFix }) => (securityFix ? "yes" : "no")],
  ["Mandatory step", ({ mandatoryStep }) => (mandatoryStep ? "yes" : "no")],
  ["Minimum charge", ({ minBatteryPercent }) => `${minBatteryPercent} %`],
  ["Free storage", ({ minFreeStorageBytes }) => bytes(minFreeStorageBytes)],
  ["Installs from", ({ minCurrentVersion }) => minCurrentVersion || "any version"],
  ["Metadata", ({ metadata }) => JSON.stringify(metadata, Object.keys(metadata).toSorted(), 1)],
  ["Release notes", ({ releaseNotes }) => releaseNotes],
];
