import { Group, Stack, Text } from "@mantine/core";
import type { ErrorGroup } from "../../../../gen/ota/v1/error_group_pb.js";
import { ErrorService } from "../../../../gen/ota/v1/error_service_pb.js";
import { useSession } from "../../session/session.tsx";
import { counted } from "../../ui/format.ts";
import { Link } from "../../ui/link.tsx";
import { Section } from "../../ui/section.tsx";
import { SplitGroup } from "./split-group.tsx";

interface WhyOneGroupProps {
  readonly group: ErrorGroup;
  /** The groups that were merged into it. */
  readonly merged: readonly ErrorGroup[];
}

/** By what the errors of a group belong together, what was merged into it, and how to change either. */
export function WhyOneGroup({ group, merged }: WhyOneGroupProps) {
  const isOperator = useSession().can(ErrorService.method.splitErrorGroup);
  return (
    <Section title="Why it is one group">
      <Stack gap="sm">
        <Text size="sm" style={{ overflowWrap: "anywhere" }}>
          {group.groupedBy === ""
            ? "It was made before the service kept by what its errors belong together."
            : group.groupedBy}
        </Text>
        {merged.length > 0 && (
          <div>
            <Text size="sm" fw={600} mb={4}>
              Merged into it
            </Text>
            <Stack gap={6}>
              {merged.map((each) => (
                <Group key={each.id} gap="sm" justify="space-between" wrap="nowrap" align="flex-start">
                  <Text size="sm" component="div" style={{ overflowWrap: "anywhere", minWidth: 0 }}>
                    <Link to="/crashes/$groupId" params={{ groupId: each.id }}>
                      {each.title || each.code}
                    </Link>{" "}
                    <Text span size="xs" c="dimmed">
                      {counted(each.occurrenceCount, "time")}
                    </Text>
                  </Text>
                  {isOperator && <SplitGroup group={each} size="compact-xs" />}
                </Group>
              ))}
            </Stack>
            {merged.length === mostShown && (
              <Text size="xs" c="dimmed" mt={4}>
                There may be more: these are those seen last.
              </Text>
            )}
          </div>
        )}
        <Text size="xs" c="dimmed">
          Where it holds two faults, or its fault makes further groups, a rule can say what belongs together.
        </Text>
        <Text size="sm" component="div">
          <Link to="/crashes/rules" search={{ example: group.id }}>
            {isOperator ? "Write a rule for it" : "See the rules"}
          </Link>
        </Text>
      </Stack>
    </Section>
  );
}

/** As many as `GetErrorGroup` tells. */
const mostShown = 100;
