import { Code, Stack, Text } from "@mantine/core";
import type { ErrorOccurrence } from "../../../../gen/ota/v1/error_group_pb.js";
import { CopyText } from "../../ui/copy-text.tsx";
import { Facts } from "../../ui/facts.tsx";
import { Link } from "../../ui/link.tsx";
import { SaveButton } from "../../ui/save-button.tsx";
import { Section } from "../../ui/section.tsx";
import { Time } from "../../ui/time.tsx";

/** What a group looks like: its newest occurrence, as the device sent it. */
export function NewestOccurrence({ occurrence }: { readonly occurrence: ErrorOccurrence | undefined }) {
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
