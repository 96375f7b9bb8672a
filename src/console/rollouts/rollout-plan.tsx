import type { ReactNode } from "react";
import type { Rollout, RolloutPolicy } from "../../../gen/ota/v1/rollout_pb.js";
import { tellFields } from "../../policy/field-text.ts";
import { policyFields } from "../../policy/policy-fields.ts";
import { fromPolicyMessage } from "../../policy/policy-messages.ts";
import { CopyText } from "../ui/copy-text.tsx";
import { Facts } from "../ui/facts.tsx";
import { percent } from "../ui/format.ts";
import { Link } from "../ui/link.tsx";
import { Section } from "../ui/section.tsx";
import { Time } from "../ui/time.tsx";
import { policyWriters } from "../words/policy-words.ts";
import { who } from "./rollout-timeline.tsx";

/** Whom a rollout reaches and how it proceeds, as it was created. */
export function RolloutPlan({ rollout }: { readonly rollout: Rollout }) {
  const { targeting, policy } = rollout;
  return (
    <Section title="Plan">
      <Facts
        facts={[
          ["Device types", list(targeting?.deviceTypes) ?? "all that the firmware is for"],
          ["Hardware models", list(targeting?.hardwareModels) ?? "all that the firmware runs on"],
          ["Groups", list(targeting?.groups)],
          ["Tags", list(targeting?.tags)],
          ["Not in", list(targeting?.excludedGroups)],
          ["First of all", list(targeting?.canaryGroups)],
          ["Versions", targeting?.currentVersionRange || undefined],
          ["Leads away from", rollout.recalledVersion && `${rollout.recalledVersion}, which is recalled`],
          ["Filter", targeting?.filter || undefined],
          ["Share", targeting?.percent === undefined ? undefined : percent(targeting.percent)],
          ...policyFacts(policy),
          [
            "In a smaller ring",
            "judged once nobody is updating and its soak time is over, if at least two failed",
          ],
          ["Created by", rollout.creator === "" ? undefined : who(rollout.creator)],
          ["Created", <Time key="c" at={rollout.createTime} />],
          ["Started", rollout.startTime && <Time key="st" at={rollout.startTime} />],
          ["Ended", rollout.endTime && <Time key="e" at={rollout.endTime} />],
          ["Archived", rollout.archiveTime && <Time key="a" at={rollout.archiveTime} />],
          ["Metadata", pairs(rollout.metadata)],
          ...rollout.rings.map(({ name, metadata }): [string, ReactNode] => [
            `Metadata of ${name}`,
            pairs(metadata),
          ]),
          ["Id", <CopyText key="i" text={rollout.id} />],
        ]}
      />
    </Section>
  );
}

function policyFacts(policy: RolloutPolicy | undefined): [title: string, value: ReactNode][] {
  if (policy === undefined) return [];
  return tellFields(policyFields, fromPolicyMessage(policy), policyWriters).map(({ field, title, words }) => {
    if (field.kind === "time") return [title, <Time key={title} at={policy.startTime} />];
    if (field.kind !== "firmware") return [title, words];
    return [
      title,
      <Link key={title} to="/firmware/$firmwareId" params={{ firmwareId: words }}>
        this firmware
      </Link>,
    ];
  });
}

function pairs(metadata: Readonly<Record<string, string>>): string | undefined {
  return list(Object.entries(metadata).map(([name, value]) => `${name}=${value}`));
}

function list(values: readonly string[] | undefined): string | undefined {
  return values === undefined || values.length === 0 ? undefined : values.join(", ");
}
