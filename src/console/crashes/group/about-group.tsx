import { Code } from "@mantine/core";
import { type ErrorGroup, ErrorGroupState } from "../../../../gen/ota/v1/error_group_pb.js";
import { CopyText } from "../../ui/copy-text.tsx";
import { Facts } from "../../ui/facts.tsx";
import { count } from "../../ui/format.ts";
import { Section } from "../../ui/section.tsx";
import { Status } from "../../ui/status.tsx";
import { Time } from "../../ui/time.tsx";
import { severities, stackKinds } from "../../words/crash-words.ts";

/** The facts of an error group. */
export function AboutGroup({ group }: { readonly group: ErrorGroup }) {
  return (
    <Section title="About it">
      <Facts
        facts={[
          ["Code", <Code key="c">{group.code}</Code>],
          ["Severity", <Status key="s" {...severities[group.severity]} />],
          ["Stack", stackKinds[group.stackKind]],
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

function versions({ firstSeenVersion, lastSeenVersion }: ErrorGroup): string {
  if (firstSeenVersion === lastSeenVersion) return firstSeenVersion;
  return `first on ${firstSeenVersion}, up to ${lastSeenVersion}`;
}
