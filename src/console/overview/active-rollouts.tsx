import { Group, Stack, Text } from "@mantine/core";
import { RingState, type Rollout } from "../../../gen/ota/v1/rollout_pb.js";
import { RolloutService } from "../../../gen/ota/v1/rollout_service_pb.js";
import { usePages } from "../data/use-pages.ts";
import { Failure } from "../ui/failure.tsx";
import { count } from "../ui/format.ts";
import { Link } from "../ui/link.tsx";
import { Section } from "../ui/section.tsx";
import { Status, toneColor } from "../ui/status.tsx";
import {
  activeStates,
  ringStates,
  rolloutStates,
  rolloutTitle,
  rolloutTotals,
} from "../words/rollout-words.ts";

/** Rollouts that are not over, each with its rings. */
export function ActiveRollouts() {
  const { rows, error, retry } = usePages(
    RolloutService.method.listRollouts,
    { states: [...activeStates], pageSize: 20 },
    { rowsOf: (answer) => answer.rollouts, everyMs: refreshMs },
  );
  return (
    <Section title="Active rollouts">
      {error !== null && <Failure error={error} doing="list the rollouts" retry={retry} />}
      {rows?.length === 0 && (
        <Group justify="space-between">
          <Text size="sm">No rollout is under way.</Text>
          <Text size="sm" component="div">
            <Link to="/rollouts">All rollouts</Link>
          </Text>
        </Group>
      )}
      <Stack gap="md">
        {rows?.map((rollout) => (
          <RolloutLine key={rollout.id} rollout={rollout} />
        ))}
      </Stack>
    </Section>
  );
}

/** The page reads again when the fleet's stream says that a rollout moved; this is for what the fleet does not show, as a pause. */
const refreshMs = 10_000;

function RolloutLine({ rollout }: { readonly rollout: Rollout }) {
  const { succeeded, failed, missing, inProgress } = rolloutTotals(rollout);
  return (
    <Stack gap={6}>
      <Group justify="space-between" gap="xs">
        <Group gap="sm">
          <Text size="sm" fw={500} component="div">
            <Link to="/rollouts/$rolloutId" params={{ rolloutId: rollout.id }}>
              {rolloutTitle(rollout)}
            </Link>
          </Text>
          <Status {...rolloutStates[rollout.state]} />
        </Group>
        <Text size="xs" c="dimmed" className="numbers">
          {count(succeeded)} succeeded · {count(failed)} failed ·{" "}
          {missing > 0 && `${count(missing)} missing · `}
          {count(inProgress - missing)} updating
        </Text>
      </Group>
      <Group gap={4} wrap="nowrap" grow>
        {rollout.rings.map((ring) => (
          <div key={ring.name} style={{ minWidth: 0 }}>
            <div
              style={{
                height: 6,
                borderRadius: 3,
                background:
                  ring.state === RingState.WAITING
                    ? "var(--ota-border)"
                    : toneColor(ringStates[ring.state].tone),
              }}
            />
            <Text size="xs" c="dimmed" truncate>
              {ring.name} · {ringStates[ring.state].text.toLowerCase()}
            </Text>
          </div>
        ))}
      </Group>
    </Stack>
  );
}
