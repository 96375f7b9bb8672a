import { useQuery } from "@connectrpc/connect-query";
import { Alert, Grid, Skeleton, Stack, Text } from "@mantine/core";
import { IconArrowMerge, IconRefreshAlert } from "@tabler/icons-react";
import { getRouteApi } from "@tanstack/react-router";
import { ErrorGroupState } from "../../../gen/ota/v1/error_group_pb.js";
import { ErrorService } from "../../../gen/ota/v1/error_service_pb.js";
import { useSession } from "../session/session.tsx";
import { Failure } from "../ui/failure.tsx";
import { counted } from "../ui/format.ts";
import { Link } from "../ui/link.tsx";
import { Page } from "../ui/page.tsx";
import { readableTitle } from "../ui/readable-title.ts";
import { Status } from "../ui/status.tsx";
import { TimeAgo } from "../ui/time.tsx";
import { groupStates } from "../words/crash-words.ts";
import { AffectedDevices } from "./affected-devices.tsx";
import { BroughtBy } from "./brought-by.tsx";
import { CrashActions } from "./crash-actions.tsx";
import { CrashTimeline } from "./crash-timeline.tsx";
import { AboutGroup } from "./group/about-group.tsx";
import { NewestOccurrence } from "./group/newest-occurrence.tsx";
import { SourceLines } from "./group/source-lines.tsx";
import { SplitGroup } from "./group/split-group.tsx";
import { WhyOneGroup } from "./group/why-one-group.tsx";
import { Mark } from "./mark.tsx";

const route = getRouteApi("/crashes/$groupId");

/** One cause of errors: when and on which versions it happened, what it looks like, which devices have it. */
export function CrashPage() {
  const { groupId } = route.useParams();
  const isOperator = useSession().can(ErrorService.method.splitErrorGroup);
  const { data, error, refetch } = useQuery(
    ErrorService.method.getErrorGroup,
    { id: groupId },
    { refetchInterval: refreshMs },
  );
  const group = data?.group;
  const trail = [
    <Link key="list" to="/crashes">
      Crashes
    </Link>,
  ];
  if (group === undefined) {
    return (
      <Page title="Error group" trail={trail}>
        {error === null ? (
          <Skeleton h={320} />
        ) : (
          <Failure error={error} doing="show this error group" retry={refetch} />
        )}
      </Page>
    );
  }
  return (
    <Page
      title={group.title || group.code}
      trail={trail}
      aside={
        <>
          <Status {...groupStates[group.state]} />
          {group.fatal && <Mark tone="bad" text="Crash" />}
        </>
      }
      description={
        <>
          {counted(group.occurrenceCount, "time")} on {counted(group.deviceCount, "device")} · last seen{" "}
          <TimeAgo at={group.lastSeenTime} />
          {group.stateReason !== "" && <> · {group.stateReason}</>}
        </>
      }
      actions={
        group.mergedInto === "" ? (
          <CrashActions group={group} />
        ) : (
          isOperator && <SplitGroup group={group} size="sm" />
        )
      }
    >
      {group.mergedInto !== "" && (
        <Alert variant="outline" icon={<IconArrowMerge aria-hidden />} title="It is merged">
          <Text size="sm">
            Another group counts its errors as well, and is the one that is resolved, ignored and reopened.
          </Text>
          <Text size="sm" component="div">
            <Link to="/crashes/$groupId" params={{ groupId: group.mergedInto }}>
              Show that group
            </Link>
          </Text>
        </Alert>
      )}
      {group.regressTime !== undefined && group.state === ErrorGroupState.OPEN && (
        <Alert
          color="orange"
          styles={readableTitle}
          variant="outline"
          icon={<IconRefreshAlert aria-hidden />}
          title="It came back"
        >
          <Text size="sm">
            It was resolved, and a newer version showed it again <TimeAgo at={group.regressTime} />.
          </Text>
        </Alert>
      )}
      <Grid gap="md" align="flex-start">
        <Grid.Col span={{ base: 12, lg: 7 }}>
          <Stack gap="md">
            <CrashTimeline groupId={group.id} />
            <NewestOccurrence occurrence={data?.newestOccurrence} />
            <SourceLines key={group.id} group={group} />
          </Stack>
        </Grid.Col>
        <Grid.Col span={{ base: 12, lg: 5 }}>
          <Stack gap="md">
            <WhyOneGroup group={group} merged={data?.mergedGroups ?? []} />
            <AboutGroup group={group} />
            {group.firstSeenVersion !== "" && <BroughtBy version={group.firstSeenVersion} />}
            <AffectedDevices groupId={group.id} />
          </Stack>
        </Grid.Col>
      </Grid>
    </Page>
  );
}

const refreshMs = 10_000;
