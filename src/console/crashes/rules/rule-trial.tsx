import { useQuery } from "@connectrpc/connect-query";
import { Stack, Table, Text } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { keepPreviousData } from "@tanstack/react-query";
import { ErrorService, type TryGroupingRuleResponse } from "../../../../gen/ota/v1/error_service_pb.js";
import { Failure } from "../../ui/failure.tsx";
import { Status } from "../../ui/status.tsx";
import { type ConditionName, type Conditions, conditionNames, conditionWords } from "./conditions.ts";

/** The report that conditions are tried on. */
type Example = Readonly<Record<"code" | "message" | "stack" | "fingerprint" | "buildId", string>>;

interface RuleTrialProps {
  readonly conditions: Conditions;
  readonly report: Example;
}

/** Which conditions hold for a report, and what of it they look at; asked anew when typing pauses. */
export function RuleTrial({ conditions, report }: RuleTrialProps) {
  const { code, fault, frame, message } = conditions;
  const [asked] = useDebouncedValue(JSON.stringify({ code, fault, frame, message, report }), settleMs);
  const request = JSON.parse(asked) as Conditions & { readonly report: Example };
  const isEmpty = [request.report.code, request.report.message, request.report.stack].every(
    (text) => text.trim() === "",
  );
  const { data, error, refetch } = useQuery(ErrorService.method.tryGroupingRule, request, {
    enabled: !isEmpty,
    placeholderData: keepPreviousData,
  });
  if (isEmpty) {
    return (
      <Text size="sm" c="dimmed">
        Paste a report above to see whether the rule holds for it.
      </Text>
    );
  }
  if (error !== null) return <Failure error={error} doing="try it" retry={refetch} />;
  if (data === undefined) return null;
  return (
    <Stack gap="xs">
      <Text size="sm" component="div" role="status">
        <Verdict trial={data} conditions={request} />
      </Text>
      <Table verticalSpacing={4} aria-label="Conditions" layout="fixed">
        <Table.Thead>
          <Table.Tr>
            <Table.Th w={90}>Condition</Table.Th>
            <Table.Th>Looks at</Table.Th>
            <Table.Th w={130}>Holds</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {conditionNames.map((name) => (
            <Table.Tr key={name}>
              <Table.Td>{conditionWords[name].label}</Table.Td>
              <Table.Td style={{ overflowWrap: "anywhere", whiteSpace: "pre-line" }}>
                {lookedAt(name, data, request.report)}
              </Table.Td>
              <Table.Td>
                <Holding trial={data} conditions={request} name={name} />
              </Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
      <Text size="xs" c="dimmed" style={{ overflowWrap: "anywhere" }}>
        With the rules there are, it is grouped by: {data.groupedBy}
      </Text>
    </Stack>
  );
}

const settleMs = 400;

interface TrialProps {
  readonly trial: TryGroupingRuleResponse;
  readonly conditions: Conditions;
}

function Verdict({ trial, conditions }: TrialProps) {
  if (conditionNames.every((name) => conditions[name] === ""))
    return <Status tone="idle" text="It has no condition yet." />;
  return trial.holds ? (
    <Status tone="good" text="The rule holds for this report." />
  ) : (
    <Status tone="bad" text="The rule does not hold for this report." />
  );
}

function Holding({ trial, conditions, name }: TrialProps & { readonly name: ConditionName }) {
  if (conditions[name] === "") return <Status tone="idle" text="always" />;
  return trial.failedConditions.includes(name) ? (
    <Status tone="bad" text="no" />
  ) : (
    <Status tone="good" text="yes" />
  );
}

function lookedAt(
  name: ConditionName,
  { fault, frames }: TryGroupingRuleResponse,
  { code, message }: Example,
): string {
  const text = { code, fault, frame: frames.join("\n"), message: message.slice(0, mostShown) }[name];
  return text === "" ? "nothing" : text;
}

/** Characters of a message. */
const mostShown = 300;
