import { Alert, Button, Group, Stack, Text } from "@mantine/core";
import { IconAlertTriangle, IconUserCheck } from "@tabler/icons-react";
import { useState } from "react";
import { type Remedy, RemedyAction } from "../../../gen/ota/v1/remedy_pb.js";
import type { Rollout } from "../../../gen/ota/v1/rollout_pb.js";
import { RolloutService } from "../../../gen/ota/v1/rollout_service_pb.js";
import { useSession } from "../session/session.tsx";
import { readableTitle } from "../ui/readable-title.ts";
import { RemedyLink } from "../words/remedy-link.tsx";
import { isCreator } from "./rollout-creator.ts";
import { RolloutVerbDialog } from "./rollout-verb-dialog.tsx";
import { type RolloutVerb, verbsFor } from "./rollout-verbs.ts";

interface RolloutAlertProps {
  readonly rollout: Rollout;
  /** Hears of the rollout as it is after an act. */
  readonly changed: (rollout: Rollout) => void;
}

/** What of a rollout needs a person, and what helps: each way with a button or a link. */
export function RolloutAlert({ rollout, changed }: RolloutAlertProps) {
  const session = useSession();
  const [asking, setAsking] = useState<RolloutVerb | undefined>();
  const [first] = rollout.remedies;
  // Approvals have a notice of their own.
  if (rollout.alert === "" || first?.action === RemedyAction.APPROVE) return null;
  const verbs = session.can(RolloutService.method.pauseRollout)
    ? verbsFor(rollout, isCreator(rollout, session.actor))
    : [];
  const isOnlyWaiting = first?.action === RemedyAction.PROMOTE;
  return (
    <Alert
      styles={readableTitle}
      color={isOnlyWaiting ? "yellow" : "red"}
      variant="outline"
      icon={isOnlyWaiting ? <IconUserCheck aria-hidden /> : <IconAlertTriangle aria-hidden />}
      title={isOnlyWaiting ? "Waits for a person" : "This needs a person"}
    >
      <Stack gap="xs">
        <Text size="sm">{rollout.alert}</Text>
        {rollout.remedies.map((remedy) => (
          <Group key={remedy.message} gap="sm">
            <RemedyWay remedy={remedy} rollout={rollout} verbs={verbs} ask={setAsking} />
            <Text size="xs" c="dimmed">
              {remedy.message}
            </Text>
          </Group>
        ))}
      </Stack>
      {asking !== undefined && (
        <RolloutVerbDialog
          rollout={rollout}
          verb={asking}
          changed={changed}
          close={() => setAsking(undefined)}
        />
      )}
    </Alert>
  );
}

interface RemedyWayProps {
  readonly remedy: Remedy;
  readonly rollout: Rollout;
  readonly verbs: readonly RolloutVerb[];
  readonly ask: (verb: RolloutVerb) => void;
}

function RemedyWay({ remedy, rollout, verbs, ask }: RemedyWayProps) {
  const name = verbNames[remedy.action];
  if (name === undefined)
    return (
      <Text size="sm">
        <RemedyLink remedy={remedy} />
      </Text>
    );
  const verb = verbs.find((each) => each.name === name);
  if (verb === undefined) return null;
  return (
    <Button size="compact-xs" variant="default" onClick={() => ask(verb)}>
      {verb.label(rollout)}…
    </Button>
  );
}

/** Remedies that are verbs of the rollout itself. */
const verbNames: Readonly<Partial<Record<RemedyAction, RolloutVerb["name"]>>> = {
  [RemedyAction.PROMOTE]: "promote",
  [RemedyAction.ROLL_BACK]: "rollback",
  [RemedyAction.ABORT]: "abort",
};
