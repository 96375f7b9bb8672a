import { useQuery } from "@connectrpc/connect-query";
import { Grid, Skeleton, Stack } from "@mantine/core";
import { getRouteApi } from "@tanstack/react-router";
import { useState } from "react";
import { AccessService } from "../../../gen/ota/v1/access_service_pb.js";
import { ErrorService } from "../../../gen/ota/v1/error_service_pb.js";
import { type Rollout, RolloutState } from "../../../gen/ota/v1/rollout_pb.js";
import { RolloutService } from "../../../gen/ota/v1/rollout_service_pb.js";
import { useServerStream } from "../data/use-server-stream.ts";
import { useSession } from "../session/session.tsx";
import { Failure } from "../ui/failure.tsx";
import { Link } from "../ui/link.tsx";
import { LiveStatus } from "../ui/live-status.tsx";
import { Page } from "../ui/page.tsx";
import { Section } from "../ui/section.tsx";
import { Status } from "../ui/status.tsx";
import { rolloutStatus, rolloutTitle } from "../words/rollout-words.ts";
import { ApprovalNotice } from "./approval-notice.tsx";
import { HealthPanel } from "./health-panel.tsx";
import { RingPipeline } from "./ring-pipeline.tsx";
import { RollbackPanel } from "./rollback-panel.tsx";
import { RolloutActions } from "./rollout-actions.tsx";
import { RolloutAlert } from "./rollout-alert.tsx";
import { RolloutDevices } from "./rollout-devices.tsx";
import { RolloutFailures } from "./rollout-failures.tsx";
import { RolloutPlan } from "./rollout-plan.tsx";
import { RolloutTimeline } from "./rollout-timeline.tsx";
import { VerbOutcome, VerbOutcomes } from "./verb-outcome.tsx";

const route = getRouteApi("/rollouts/$rolloutId");

/** One rollout, live: where each ring stands and what it waits for, who failed and why, what was decided and by whom. */
export function RolloutPage() {
  const { rolloutId } = route.useParams();
  return (
    <VerbOutcomes key={rolloutId}>
      <LiveRollout />
    </VerbOutcomes>
  );
}

function LiveRollout() {
  const { rolloutId } = route.useParams();
  const { can } = useSession();
  const read = useQuery(RolloutService.method.getRollout, { id: rolloutId });
  const [watched, setWatched] = useState<Rollout | undefined>();
  const stream = useServerStream(RolloutService.method.watchRollout, { id: rolloutId }, (message) =>
    setWatched(message.rollout),
  );
  const rollout = watched?.id === rolloutId ? watched : read.data?.rollout;
  const trail = [
    <Link key="list" to="/rollouts">
      Rollouts
    </Link>,
  ];
  if (rollout === undefined) {
    return (
      <Page title="Rollout" trail={trail}>
        {read.error === null ? (
          <Skeleton h={420} />
        ) : (
          <Failure error={read.error} doing="show this rollout" retry={read.refetch} />
        )}
      </Page>
    );
  }
  return (
    <Page
      title={rolloutTitle(rollout)}
      trail={trail}
      aside={
        <>
          <Status {...rolloutStatus(rollout)} />
          <LiveStatus state={stream.state} />
        </>
      }
      description={
        <>
          Brings{" "}
          <Link to="/firmware/$firmwareId" params={{ firmwareId: rollout.firmwareId }}>
            {rollout.product} {rollout.version}
          </Link>
          {rollout.stateReason !== "" && <> · {rollout.stateReason}</>}
          {can(ErrorService.method.listErrorGroups) && (
            <>
              {" · "}
              <Link to="/crashes" search={{ version: rollout.version, state: "all" }}>
                Crashes on {rollout.version}
              </Link>
            </>
          )}
        </>
      }
      actions={<RolloutActions rollout={rollout} changed={setWatched} />}
    >
      <VerbOutcome />
      <RolloutAlert rollout={rollout} changed={setWatched} />
      <ApprovalNotice rollout={rollout} />
      {rollout.rollback !== undefined && <RollbackPanel rollout={rollout} />}
      <Section title="Rings" description="Each ring opens when the gate of the one before it holds.">
        <RingPipeline rollout={rollout} />
      </Section>
      <Grid gap="md" align="flex-start">
        <Grid.Col span={{ base: 12, lg: 7 }}>
          <Stack gap="md">
            {rollout.state !== RolloutState.DRAFT && <RolloutFailures rollout={rollout} />}
            {rollout.state !== RolloutState.DRAFT && <HealthPanel rollout={rollout} />}
            <RolloutDevices rollout={rollout} />
          </Stack>
        </Grid.Col>
        <Grid.Col span={{ base: 12, lg: 5 }}>
          <Stack gap="md">
            {can(AccessService.method.listAuditEvents) && <RolloutTimeline rollout={rollout} />}
            <RolloutPlan rollout={rollout} />
          </Stack>
        </Grid.Col>
      </Grid>
    </Page>
  );
}
