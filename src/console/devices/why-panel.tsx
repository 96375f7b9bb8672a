import "@mantine/core/styles/Accordion.css";
import { useQuery } from "@connectrpc/connect-query";
import { Accordion, Group, Skeleton, Stack, Table, Text } from "@mantine/core";
import { type Rollout, RolloutState } from "../../../gen/ota/v1/rollout_pb.js";
import { type ExplainedRule, RolloutService } from "../../../gen/ota/v1/rollout_service_pb.js";
import { Failure } from "../ui/failure.tsx";
import { Link } from "../ui/link.tsx";
import { Section } from "../ui/section.tsx";
import { Status } from "../ui/status.tsx";
import { rolloutStates, rolloutTitle } from "../words/rollout-words.ts";

/** Why a device gets the updates that are on their way, or why not: every rule with its value. */
export function WhyPanel({ deviceId }: { readonly deviceId: string }) {
  const { data, error, refetch } = useQuery(RolloutService.method.listRollouts, {
    states: [
      RolloutState.RUNNING,
      RolloutState.PAUSED,
      RolloutState.SCHEDULED,
      RolloutState.AWAITING_APPROVAL,
    ],
    pageSize: mostRollouts,
  });
  return (
    <Section title="Why does it (not) get an update?" description="Asked of every rollout that is under way">
      {error !== null && <Failure error={error} doing="list the rollouts" retry={refetch} />}
      {data === undefined && error === null && <Skeleton h={60} />}
      {data?.rollouts.length === 0 && (
        <Text size="sm">No rollout is under way, so no update waits for any device.</Text>
      )}
      <Stack gap="md">
        {data?.rollouts.map((rollout) => (
          <Explanation key={rollout.id} rollout={rollout} deviceId={deviceId} />
        ))}
      </Stack>
    </Section>
  );
}

/** Each costs a call. */
const mostRollouts = 10;

/** Rules change with the device's heartbeats. */
const refreshMs = 10_000;

function Explanation({ rollout, deviceId }: { readonly rollout: Rollout; readonly deviceId: string }) {
  const { data, error, refetch } = useQuery(
    RolloutService.method.explainUpdate,
    { rolloutId: rollout.id, deviceId },
    { refetchInterval: refreshMs },
  );
  const { tone, text } = rolloutStates[rollout.state];
  return (
    <div>
      <Group gap="sm">
        <Text size="sm" fw={600} component="div">
          <Link to="/rollouts/$rolloutId" params={{ rolloutId: rollout.id }}>
            {rolloutTitle(rollout)}
          </Link>
        </Text>
        <Status tone={tone} text={text} />
        {data !== undefined && data.ring !== "" && (
          <Text size="sm" c="dimmed">
            ring {data.ring}
          </Text>
        )}
      </Group>
      {error !== null && <Failure error={error} doing="explain it" retry={refetch} />}
      {data === undefined && error === null && <Skeleton h={20} my={4} />}
      {data !== undefined && (
        <>
          <Text size="sm" my={4}>
            {data.summary}
          </Text>
          {data.rules.length > 0 && (
            <Accordion variant="contained" chevronPosition="left">
              <Accordion.Item value="rules">
                <Accordion.Control>
                  <Text size="sm">{rulesTitle(data.rules)}</Text>
                </Accordion.Control>
                <Accordion.Panel>
                  <Rules rules={data.rules} />
                </Accordion.Panel>
              </Accordion.Item>
            </Accordion>
          )}
        </>
      )}
    </div>
  );
}

function rulesTitle(rules: readonly ExplainedRule[]): string {
  const broken = rules.filter(({ holds }) => !holds).length;
  return broken === 0 ? `All ${rules.length} rules hold` : `${broken} of ${rules.length} rules do not hold`;
}

function Rules({ rules }: { readonly rules: readonly ExplainedRule[] }) {
  return (
    <Table.ScrollContainer minWidth={420} type="native" tabIndex={0} role="region" aria-label="List of rules">
      <Table aria-label="Rules" verticalSpacing={5} fz="sm">
        <Table.Thead>
          <Table.Tr>
            <Table.Th>Rule</Table.Th>
            <Table.Th>Required</Table.Th>
            <Table.Th>It is</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {rules.map(({ name, holds, required, actual, message }) => (
            <Table.Tr key={name}>
              <Table.Td>
                <Status tone={holds ? "good" : "bad"} text={holds ? "Holds" : "Does not hold"} />
                <Text size="sm">{message || name}</Text>
              </Table.Td>
              <Table.Td>{required}</Table.Td>
              <Table.Td>{actual}</Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Table.ScrollContainer>
  );
}
