import { useQuery } from "@connectrpc/connect-query";
import { Alert, Code, Grid, Skeleton, Stack, Text } from "@mantine/core";
import { IconRefreshAlert } from "@tabler/icons-react";
import { getRouteApi } from "@tanstack/react-router";
import {
  type ErrorGroup,
  ErrorGroupState,
  type ErrorOccurrence,
} from "../../../gen/ota/v1/error_group_pb.js";
import { ErrorService } from "../../../gen/ota/v1/error_service_pb.js";
import { CopyText } from "../ui/copy-text.tsx";
import { Facts } from "../ui/facts.tsx";
import { Failure } from "../ui/failure.tsx";
import { count, counted } from "../ui/format.ts";
import { Link } from "../ui/link.tsx";
import { Page } from "../ui/page.tsx";
import { SaveButton } from "../ui/save-button.tsx";
import { Section } from "../ui/section.tsx";
import { Status } from "../ui/status.tsx";
import { Time, TimeAgo } from "../ui/time.tsx";
import { groupStates, severities, stackKinds } from "../words/crash-words.ts";
import { AffectedDevices } from "./affected-devices.tsx";
import { BroughtBy } from "./brought-by.tsx";
import { CrashActions } from "./crash-actions.tsx";
import { CrashTimeline } from "./crash-timeline.tsx";
import { Mark } from "./mark.tsx";

const route = getRouteApi("/crashes/$groupId");

/** One cause of errors: when and on which versions it happened, what it looks like, which devices have it. */
export function CrashPage() {
  const { groupId } = route.useParams();
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
      actions={group.mergedInto === "" ? <CrashActions group={group} /> : undefined}
    >
      {group.regressTime !== undefined && group.state === ErrorGroupState.OPEN && (
        <Alert color="orange" variant="outline" icon={<IconRefreshAlert aria-hidden />} title="It came back">
          <Text size="sm">
            It was resolved, and a newer version showed it again <TimeAgo at={group.regressTime} />.
          </Text>
        </Alert>
      )}
      <Grid gap="md" align="flex-start">
        <Grid.Col span={{ base: 12, lg: 7 }}>
          <Stack gap="md">
            <CrashTimeline groupId={group.id} />
            <Newest occurrence={data?.newestOccurrence} />
          </Stack>
        </Grid.Col>
        <Grid.Col span={{ base: 12, lg: 5 }}>
          <Stack gap="md">
            <About group={group} merged={data?.mergedGroups ?? []} />
            {group.firstSeenVersion !== "" && <BroughtBy version={group.firstSeenVersion} />}
            <AffectedDevices groupId={group.id} />
          </Stack>
        </Grid.Col>
      </Grid>
    </Page>
  );
}

const refreshMs = 10_000;

function About({ group, merged }: { readonly group: ErrorGroup; readonly merged: readonly ErrorGroup[] }) {
  return (
    <Section title="About it">
      <Facts
        facts={[
          ["Code", <Code key="c">{group.code}</Code>],
          ["Severity", <Status key="s" {...severities[group.severity]} />],
          ["Stack", stackKinds[group.stackKind]],
          ["Grouped by", group.groupedBy === "" ? undefined : group.groupedBy],
          ["Counted in", group.mergedInto === "" ? undefined : <GroupLink key="i" id={group.mergedInto} />],
          [
            "Merged into it",
            merged.length === 0 ? undefined : (
              <Stack key="m" gap={2}>
                {merged.map(({ id, title }) => (
                  <GroupLink key={id} id={id} title={title} />
                ))}
              </Stack>
            ),
          ],
          ["Versions", versions(group)],
          ["Times", count(group.occurrenceCount)],
          ["Devices", count(group.deviceCount)],
          ["First seen", <Time key="f" at={group.firstSeenTime} />],
          ["Last seen", <Time key="l" at={group.lastSeenTime} />],
          [
            "Resolved up to",
            group.state === ErrorGroupState.RESOLVED
              ? `${group.resolvedVersion}; a higher version that shows it reopens it`
              : undefined,
          ],
          [
            "Fingerprint",
            <CopyText key="p" text={group.fingerprint} shown={group.fingerprint.slice(0, 16)} />,
          ],
        ]}
      />
    </Section>
  );
}

function GroupLink({ id, title }: { readonly id: string; readonly title?: string }) {
  return (
    <Link to="/crashes/$groupId" params={{ groupId: id }}>
      {title || `…${id.slice(-12)}`}
    </Link>
  );
}

function versions({ firstSeenVersion, lastSeenVersion }: ErrorGroup): string {
  if (firstSeenVersion === lastSeenVersion) return firstSeenVersion;
  return `first on ${firstSeenVersion}, up to ${lastSeenVersion}`;
}

function Newest({ occurrence }: { readonly occurrence: ErrorOccurrence | undefined }) {
  if (occurrence?.report === undefined) {
    return (
      <Section title="Newest occurrence">
        <Text size="sm">It is older than what is kept. The counts stay.</Text>
      </Section>
    );
  }
  const { report, deviceId, receiveTime, firmwareVersion, bootId } = occurrence;
  return (
    <Section
      title="Newest occurrence"
      description={
        <>
          <Time at={receiveTime} /> on {firmwareVersion}
        </>
      }
      actions={
        report.crashLogId === "" ? undefined : (
          <SaveButton
            path={`/api/v1/crashLogs/${encodeURIComponent(report.crashLogId)}`}
            name={`${report.crashLogId}.log`}
          >
            Crash log
          </SaveButton>
        )
      }
    >
      <Stack gap="sm">
        {report.message !== "" && (
          <Text size="sm" style={{ overflowWrap: "anywhere" }}>
            {report.message}
          </Text>
        )}
        {report.stack === "" ? (
          <Text size="sm" c="dimmed">
            It came without a stack.
          </Text>
        ) : (
          <Code block mah={480} style={{ overflow: "auto" }} tabIndex={0} aria-label="Stack">
            {report.stack}
          </Code>
        )}
        <Facts
          facts={[
            [
              "Device",
              <Link key="d" to="/devices/$deviceId" params={{ deviceId }} search={{ tab: "errors" }}>
                …{deviceId.slice(-12)}
              </Link>,
            ],
            ["Boot", bootId === "" ? undefined : <CopyText key="b" text={bootId} />],
            ...Object.entries(report.context),
          ]}
        />
      </Stack>
    </Section>
  );
}
