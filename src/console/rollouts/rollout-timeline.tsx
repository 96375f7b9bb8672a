import { actorName } from "../ui/actor-name.ts";
import "@mantine/core/styles/Timeline.css";
import { Button, Text, Timeline } from "@mantine/core";
import { IconRobot, IconUser } from "@tabler/icons-react";
import type { AuditEvent } from "../../../gen/ota/v1/access_pb.js";
import { AccessService } from "../../../gen/ota/v1/access_service_pb.js";
import type { Rollout } from "../../../gen/ota/v1/rollout_pb.js";
import { usePages } from "../data/use-pages.ts";
import { Failure } from "../ui/failure.tsx";
import { Section } from "../ui/section.tsx";
import { TimeAgo } from "../ui/time.tsx";
import { useChangeKey } from "./use-change-key.ts";

/** What was decided, by whom or by which rule, and why; newest first. */
export function RolloutTimeline({ rollout }: { readonly rollout: Rollout }) {
  const pages = usePages(
    AccessService.method.listAuditEvents,
    { resourceId: rollout.id },
    { rowsOf: (answer) => answer.events },
  );
  // Decisions change states; counters change all the time.
  useChangeKey([rollout.state, ...rollout.rings.map(({ state }) => state)].join(), pages.retry);
  return (
    <Section title="Decisions">
      {pages.error !== null && <Failure error={pages.error} doing="list the decisions" retry={pages.retry} />}
      <Timeline bulletSize={22} lineWidth={1} active={pages.rows?.length ?? 0}>
        {pages.rows?.map((event) => (
          <Timeline.Item
            key={event.id}
            title={
              <Text size="sm" fw={600}>
                {decision(event)}
              </Text>
            }
            bullet={
              event.actor.startsWith("system:") ? (
                <IconRobot size={13} aria-hidden />
              ) : (
                <IconUser size={13} aria-hidden />
              )
            }
          >
            {event.reason !== "" && <Text size="sm">{event.reason}</Text>}
            <Text size="xs" c="dimmed">
              {who(event.actor)} · <TimeAgo at={event.time} />
            </Text>
          </Timeline.Item>
        ))}
      </Timeline>
      {pages.hasMore && (
        <Button size="compact-sm" variant="subtle" mt="xs" loading={pages.isReadingMore} onClick={pages.more}>
          Earlier decisions
        </Button>
      )}
    </Section>
  );
}

/** `Promoted to early`: the action in words, with the ring if there is one. */
function decision({ action, details }: Pick<AuditEvent, "action" | "details">): string {
  const verb = action.replace(/^rollout\./, "");
  const text = verbs[verb] ?? verb.replaceAll("_", " ");
  const ring = details["ring"];
  return ring === undefined || ring === "" ? text : `${text}: ${ring}`;
}

/** `alice`, or `rule: failure threshold`. */
export function who(actor: string): string {
  const [kind, ...name] = actor.split(":");
  return kind === "system" ? `rule: ${name.join(":").replaceAll("_", " ")}` : actorName(actor);
}

const verbs: Readonly<Record<string, string>> = {
  create: "Created",
  start: "Started",
  approve: "Approved",
  promote: "Promoted",
  pause: "Paused",
  resume: "Resumed",
  rollback: "Rollback begun",
  rollback_ring: "Ring rolled back",
  rollback_device: "Device rolled back",
  retry_device: "Device tries again",
  finish_rollback: "Rolled back",
  await_approval: "Waits for approval",
  schedule: "Scheduled",
  complete: "Completed",
  abort: "Aborted",
  archive: "Archived",
  unarchive: "Taken out of the archive",
  update: "Name or keys changed",
  update_device_update: "Keys of a device's update changed",
};
