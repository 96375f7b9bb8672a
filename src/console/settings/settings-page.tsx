import { useQuery } from "@connectrpc/connect-query";
import { Code, Skeleton, Table, Text } from "@mantine/core";
import { Fragment } from "react";
import { AccessService } from "../../../gen/ota/v1/access_service_pb.js";
import { Failure } from "../ui/failure.tsx";
import { Page } from "../ui/page.tsx";
import { Section } from "../ui/section.tsx";
import { Status } from "../ui/status.tsx";
import { DeviceTypesPanel } from "./device-types-panel.tsx";
import { ModelAliasesPanel } from "./model-aliases-panel.tsx";

/** The settings in force, to read: they are set where the service is started. */
export function SettingsPage() {
  const { data, error, refetch } = useQuery(AccessService.method.listSettings, {});
  return (
    <Page
      title="Settings"
      description="What the replica that answers was started with. Settings are environment variables: change them where the service is started, then restart it."
    >
      <Section title="In force" flush>
        {error !== null && <Failure error={error} doing="list the settings" retry={refetch} />}
        {data === undefined && error === null && <Skeleton h={480} />}
        {data !== undefined && (
          <Table.ScrollContainer
            minWidth={0}
            type="native"
            tabIndex={0}
            role="region"
            aria-label="List of settings"
          >
            <Table aria-label="Settings" verticalSpacing={6}>
              <Table.Thead>
                <Table.Tr>
                  <Table.Th>Setting</Table.Th>
                  <Table.Th>Value</Table.Th>
                  <Table.Th visibleFrom="md">What it does</Table.Th>
                </Table.Tr>
              </Table.Thead>
              <Table.Tbody>
                {data.settings.map(({ name, value, defaultValue, set, description }) => (
                  <Table.Tr key={name}>
                    <Table.Th scope="row" fw={400}>
                      <Code style={{ whiteSpace: "normal" }}>{breakable(name)}</Code>
                    </Table.Th>
                    <Table.Td style={{ overflowWrap: "anywhere" }}>
                      <Text size="sm">{value || "—"}</Text>
                      {set ? (
                        <Status tone="busy" text={`set; the default is ${defaultValue || "nothing"}`} />
                      ) : (
                        <Text size="xs" c="dimmed">
                          default
                        </Text>
                      )}
                    </Table.Td>
                    <Table.Td visibleFrom="md">{description}</Table.Td>
                  </Table.Tr>
                ))}
              </Table.Tbody>
            </Table>
          </Table.ScrollContainer>
        )}
      </Section>
      <DeviceTypesPanel />
      <ModelAliasesPanel />
    </Page>
  );
}

/** A name that a narrow column may break after an underscore. */
function breakable(name: string) {
  return name.split("_").map((word, index) => (
    <Fragment key={`${index} ${word}`}>
      {index > 0 && (
        <>
          _<wbr />
        </>
      )}
      {word}
    </Fragment>
  ));
}
