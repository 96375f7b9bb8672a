import { Alert, Text } from "@mantine/core";
import { IconUserCheck } from "@tabler/icons-react";
import type { Rollout } from "../../../gen/ota/v1/rollout_pb.js";
import { useSession } from "../session/session.tsx";
import { readableTitle } from "../ui/readable-title.ts";
import { isCreator } from "./rollout-creator.ts";
import { who } from "./rollout-timeline.tsx";
import { awaitsApproval } from "./rollout-verbs.ts";

/** Says that a ring waits for an approval, and who may give it. */
export function ApprovalNotice({ rollout }: { readonly rollout: Rollout }) {
  const { actor } = useSession();
  if (!awaitsApproval(rollout)) return null;
  const ring = rollout.awaitingApprovalRing || (rollout.rings[0]?.name ?? "");
  return (
    <Alert
      styles={readableTitle}
      variant="outline"
      color="yellow"
      icon={<IconUserCheck aria-hidden />}
      title="Waits for an approval"
    >
      <Text size="sm">
        The ring {ring} opens only once an operator other than the rollout's creator has approved it.{" "}
        {isCreator(rollout, actor)
          ? "You created it, so somebody else has to: four eyes see more than two."
          : `It was created by ${who(rollout.creator)}.`}
      </Text>
    </Alert>
  );
}
