import { Stack, Text } from "@mantine/core";
import type { GroupingRule } from "../../../../gen/ota/v1/error_group_pb.js";
import { ErrorService } from "../../../../gen/ota/v1/error_service_pb.js";
import { useList } from "../../data/use-list.ts";
import { useSession } from "../../session/session.tsx";
import { actorName } from "../../ui/actor-name.ts";
import { type Column, DataTable } from "../../ui/data-table.tsx";
import { Nothing } from "../../ui/nothing.tsx";
import { Section } from "../../ui/section.tsx";
import { TimeAgo } from "../../ui/time.tsx";
import { conditionNames, conditionWords } from "./conditions.ts";
import { DeleteRule } from "./delete-rule.tsx";

/** A rule with its place in the order in which rules are tried. */
interface PlacedRule {
  readonly rule: GroupingRule;
  readonly place: number;
}

/** The rules in the order in which they are tried. */
export function RuleList() {
  const isOperator = useSession().can(ErrorService.method.deleteGroupingRule);
  const pages = useList(ErrorService.method.listGroupingRules, {}, ({ rules }): readonly PlacedRule[] =>
    rules.map((rule, index) => ({ rule, place: index + 1 })),
  );
  return (
    <Section title="Rules" description="In the order in which they are tried" flush>
      <DataTable
        name="grouping rules"
        columns={isOperator ? [...columns, deletion] : columns}
        pages={pages}
        keyOf={({ rule }) => rule.id}
        empty={
          <Nothing title="No rules">
            Errors are grouped by their stack, by what their device says, or by their message.
          </Nothing>
        }
      />
    </Section>
  );
}

const columns: readonly Column<PlacedRule>[] = [
  { id: "place", header: "No.", cell: ({ place }) => place, numeric: true, width: 50 },
  {
    id: "title",
    header: "Its group",
    cell: ({ rule: { id, title, fingerprint } }) => (
      <Stack gap={0}>
        <Text size="sm" fw={500} style={{ overflowWrap: "anywhere" }}>
          {title}
        </Text>
        {fingerprint !== id && (
          <Text size="xs" c="dimmed" style={{ overflowWrap: "anywhere" }}>
            shared by rules with “{fingerprint}”
          </Text>
        )}
      </Stack>
    ),
  },
  {
    id: "conditions",
    header: "Holds if",
    cell: ({ rule }) =>
      conditionNames
        .filter((name) => rule[name] !== "")
        .map((name) => (
          <Text key={name} size="sm" style={{ overflowWrap: "anywhere" }}>
            <Text span inherit c="dimmed">
              {conditionWords[name].label}
            </Text>{" "}
            {rule[name]}
          </Text>
        )),
  },
  {
    id: "creator",
    header: "Made by",
    cell: ({ rule }) => actorName(rule.createdBy),
    wide: true,
  },
  { id: "created", header: "Made", cell: ({ rule }) => <TimeAgo at={rule.createTime} />, wide: true },
];

const deletion: Column<PlacedRule> = {
  id: "delete",
  header: <span aria-hidden />,
  cell: ({ rule }) => <DeleteRule rule={rule} />,
  numeric: true,
};
