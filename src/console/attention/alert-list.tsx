import { Box, Button, Group, Text, Title } from "@mantine/core";
import { type ReactNode, useState } from "react";
import { type Alert, AlertState } from "../../../gen/ota/v1/alert_pb.js";
import { AlertService } from "../../../gen/ota/v1/alert_service_pb.js";
import { useSession } from "../session/session.tsx";
import { actorName } from "../ui/actor-name.ts";
import { Status } from "../ui/status.tsx";
import { TimeAgo } from "../ui/time.tsx";
import { alertSentence, alertSeverities, alertTitle } from "../words/alert-words.ts";
import { AcknowledgeDialog } from "./acknowledge-dialog.tsx";
import classes from "./alert-list.module.css";
import { NextAction, NextNote } from "./next-action.tsx";
import { useKeptFocus } from "./use-kept-focus.ts";

interface AlertListProps {
  /** For screen readers. */
  readonly name: string;
  readonly alerts: readonly Alert[];
  /** Stands there when there are none. */
  readonly empty: ReactNode;
}

/** Alerts, each with its sentence, since when, what to do next, and who has taken note of it. */
export function AlertList({ name, alerts, empty }: AlertListProps) {
  // Here and not in the alert's line, which goes when the alert does: what somebody writes stays.
  const [asked, setAsked] = useState<{ readonly alert: Alert; readonly by: HTMLElement } | undefined>();
  const { list, giveBack } = useKeptFocus(alerts.map(({ id }) => id).join());
  return (
    <>
      {alerts.length === 0 ? (
        empty
      ) : (
        <Box component="ul" className={classes["list"] ?? ""} aria-label={name} tabIndex={-1} ref={list}>
          {alerts.map((alert) => (
            <AlertLine key={alert.id} alert={alert} acknowledge={(by) => setAsked({ alert, by })} />
          ))}
        </Box>
      )}
      {asked !== undefined && (
        <AcknowledgeDialog
          alert={asked.alert}
          close={() => {
            setAsked(undefined);
            giveBack(asked.by);
          }}
        />
      )}
    </>
  );
}

function AlertLine({
  alert,
  acknowledge,
}: {
  readonly alert: Alert;
  readonly acknowledge: (by: HTMLElement) => void;
}) {
  const { can } = useSession();
  const { id, severity, state, acknowledgeTime } = alert;
  const isOpen = state === AlertState.FIRING && acknowledgeTime === undefined;
  return (
    <li className={classes["line"] ?? ""} aria-labelledby={`alert-${id}`}>
      <div className={classes["text"] ?? ""}>
        <Group gap="sm">
          <Title order={3} size="h6" id={`alert-${id}`}>
            {alertTitle(alert)}
          </Title>
          <Status {...alertSeverities[severity]} />
          <Since alert={alert} />
        </Group>
        <Text size="sm">
          <bdi>{alertSentence(alert)}</bdi>
        </Text>
        <NextNote alert={alert} />
        {acknowledgeTime !== undefined && <Acknowledgement alert={alert} />}
      </div>
      <Group gap="md" fz="sm" className={classes["actions"] ?? ""}>
        <NextAction alert={alert} />
        {isOpen && can(AlertService.method.acknowledgeAlert) && (
          <Button
            size="compact-xs"
            variant="default"
            onClick={({ currentTarget }) => acknowledge(currentTarget)}
            aria-describedby={`alert-${id}`}
          >
            Acknowledge…
          </Button>
        )}
      </Group>
    </li>
  );
}

function Since({ alert: { state, fireTime, resolveTime } }: { readonly alert: Alert }) {
  return (
    <Text size="xs" c="dimmed" component="span">
      began <TimeAgo at={fireTime} />
      {state === AlertState.RESOLVED && (
        <>
          , ended <TimeAgo at={resolveTime} />
        </>
      )}
    </Text>
  );
}

function Acknowledgement({
  alert: { acknowledger, acknowledgeTime, acknowledgementNote },
}: {
  readonly alert: Alert;
}) {
  return (
    <Text size="sm" c="dimmed">
      {actorName(acknowledger)} took note <TimeAgo at={acknowledgeTime} />
      {acknowledgementNote !== "" && (
        <>
          : <bdi>{acknowledgementNote}</bdi>
        </>
      )}
    </Text>
  );
}
