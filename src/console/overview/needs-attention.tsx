import { Group, Text } from "@mantine/core";
import { type Alert, AlertSeverity } from "../../../gen/ota/v1/alert_pb.js";
import { AlertList } from "../attention/alert-list.tsx";
import { useOpenAlerts } from "../attention/use-open-alerts.ts";
import { Failure } from "../ui/failure.tsx";
import { count, counted } from "../ui/format.ts";
import { Link } from "../ui/link.tsx";
import { Section } from "../ui/section.tsx";

/** What needs a person and nobody has taken note of, the worst first; and the way to all of it. */
export function NeedsAttention() {
  const open = useOpenAlerts();
  if (open === undefined) return null;
  const { answer, error, retry } = open;
  const shown = answer?.alerts.toSorted(byUrgency).slice(0, maxShown) ?? [];
  return (
    <Section
      title="Needs attention"
      actions={
        <Text size="xs" component="div">
          <Link to="/alerts">
            {answer === undefined || answer.unacknowledgedCount <= shown.length
              ? "All alerts"
              : `All ${count(answer.unacknowledgedCount)}`}
          </Link>
        </Text>
      }
    >
      {error !== null && <Failure error={error} doing="read what needs attention" retry={retry} />}
      {answer !== undefined && (
        <AlertList
          name="Needs attention"
          alerts={shown}
          empty={<Text size="sm">Nothing needs a person.</Text>}
        />
      )}
      {answer !== undefined && answer.acknowledgedCount > 0 && (
        <Group gap={4}>
          <Text size="sm" component="div">
            <Link to="/alerts" search={{ show: "acknowledged" }}>
              {counted(answer.acknowledgedCount, "alert")} that somebody has taken note of
            </Link>
          </Text>
        </Group>
      )}
    </Section>
  );
}

/** Of more the list of alerts tells. */
const maxShown = 5;

/** Critical ones first; then as they came, the newest first. */
function byUrgency(a: Alert, b: Alert): number {
  return rank(b) - rank(a);
}

function rank({ severity }: Alert): number {
  return severity === AlertSeverity.CRITICAL ? 1 : 0;
}
