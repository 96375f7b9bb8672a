import { useQuery } from "@connectrpc/connect-query";
import { Stack, Text } from "@mantine/core";
import type { Rollout } from "../../../gen/ota/v1/rollout_pb.js";
import { RolloutService } from "../../../gen/ota/v1/rollout_service_pb.js";
import { Failure } from "../ui/failure.tsx";
import { Link } from "../ui/link.tsx";
import { Section } from "../ui/section.tsx";
import { Status } from "../ui/status.tsx";
import { rolloutStates, rolloutTitle } from "../words/rollout-words.ts";

/** The rollouts that brought the version on which an error was first seen. */
export function BroughtBy({ version }: { readonly version: string }) {
  const { data, error } = useQuery(RolloutService.method.listRollouts, {
    firmwareVersion: version,
    pageSize: shown,
  });
  const rollouts = data?.rollouts ?? [];
  return (
    <Section title="Brought by" description={`Rollouts of ${version}, on which it was first seen`}>
      {error !== null && <Failure error={error} doing="list the rollouts" />}
      {error === null && rollouts.length === 0 && (
        <Text size="sm" c="dimmed">
          {data === undefined ? "Looking…" : "No rollout brought this version: devices came with it."}
        </Text>
      )}
      <Stack gap={6}>
        {rollouts.map((rollout) => (
          <Entry key={rollout.id} rollout={rollout} />
        ))}
      </Stack>
    </Section>
  );
}

/** Of one version there are hardly more. */
const shown = 20;

function Entry({ rollout }: { readonly rollout: Rollout }) {
  const { tone, text } = rolloutStates[rollout.state];
  return (
    <Text size="sm" component="div">
      <Link to="/rollouts/$rolloutId" params={{ rolloutId: rollout.id }}>
        {rolloutTitle(rollout)}
      </Link>{" "}
      <Status tone={tone} text={text} />
    </Text>
  );
}
