import { Text } from "@mantine/core";
import type { ReactNode } from "react";
import { AccessService } from "../../../gen/ota/v1/access_service_pb.js";
import { type Alert, AlertState } from "../../../gen/ota/v1/alert_pb.js";
import { AlertService } from "../../../gen/ota/v1/alert_service_pb.js";
import { RemedyAction } from "../../../gen/ota/v1/remedy_pb.js";
import { useSession } from "../session/session.tsx";
import { CopyText } from "../ui/copy-text.tsx";
import { Link } from "../ui/link.tsx";
import { TimeAgo } from "../ui/time.tsx";
import { RemedyLink } from "../words/remedy-link.tsx";

/** The one thing to do next about an alert: a link to where it is done, or to what it is about for whoever may only look, or when it is over. */
export function NextAction({ alert }: { readonly alert: Alert }) {
  const { can } = useSession();
  if (isOver(alert) || !can(AlertService.method.acknowledgeAlert)) return <Look alert={alert} />;
  const [remedy] = alert.remedies;
  if (remedy === undefined) return <RuleAction alert={alert} />;
  const verb = verbs[remedy.action];
  return verb === undefined ? <RemedyLink remedy={remedy} /> : <RolloutLink alert={alert} text={verb} />;
}

/** What to know before that: that it seems to be over, or who can do it, unless the alert says so. */
export function NextNote({ alert }: { readonly alert: Alert }) {
  const { state, clearTime, summary, remedies } = alert;
  if (state === AlertState.FIRING && clearTime !== undefined) {
    return (
      <Text size="sm" c="dimmed">
        This seems to be over since <TimeAgo at={clearTime} />; it goes by itself once that has lasted.
      </Text>
    );
  }
  const [remedy] = remedies;
  if (remedy === undefined || summary.includes(remedy.message)) return null;
  return (
    <Text size="sm" c="dimmed">
      {remedy.message.charAt(0).toUpperCase() + remedy.message.slice(1)}.
    </Text>
  );
}

function isOver({ state, clearTime }: Alert): boolean {
  return state !== AlertState.FIRING || clearTime !== undefined;
}

/** Remedies that are done on the rollout's own page. */
const verbs: Readonly<Partial<Record<RemedyAction, string>>> = {
  [RemedyAction.PROMOTE]: "Promote it",
  [RemedyAction.APPROVE]: "Approve it",
  [RemedyAction.ROLL_BACK]: "Roll it back",
  [RemedyAction.ABORT]: "Abort it",
};

/** What its rule alone says. */
function RuleAction({ alert }: { readonly alert: Alert }) {
  const { rule, resourceId } = alert;
  switch (rule) {
    case "rollout.rolled_back":
      return <RolloutLink alert={alert} text="See why" devices="failed" />;
    case "rollout.paused":
      return <RolloutLink alert={alert} text="Resume it, or roll it back" />;
    case "rollout.devices_missing":
      return <RolloutLink alert={alert} text="See which are missing" devices="missing" />;
    case "rollout.drift":
      return <RolloutLink alert={alert} text="See which fell back" devices="drifted" />;
    case "rollout.failure_rate":
      return <RolloutLink alert={alert} text="See why they fail" devices="failed" />;
    case "firmware.damaged":
      return <FirmwareLink firmwareId={resourceId} text="Upload it again" />;
    case "device.clone":
      return <DeviceLink deviceId={resourceId} text="Approve or block it" />;
    case "key.expires":
      return <KeyAction alert={alert} />;
    case "certificate.expires":
      return <Words>Renew it in the file of DEVICE_OTA_TLS_CERT_FILE; it is read again by itself.</Words>;
    case "store.down":
    case "descriptors.scarce":
    case "ingest.lag":
    case "database.down":
      return (
        <Words>
          Let the machine say what is wrong: <CopyText text="device-ota doctor" />
        </Words>
      );
    default:
      return <Look alert={alert} />;
  }
}

function KeyAction({ alert }: { readonly alert: Alert }) {
  const { can } = useSession();
  const { method } = AccessService;
  switch (alert.resourceType) {
    case "token":
      if (!can(method.createToken)) return <Words>An administrator makes another token.</Words>;
      return <AccessLink tab="tokens" text="Make another token" />;
    case "enrolment_key":
      if (!can(method.createEnrolmentKey)) return <Words>An administrator makes another key.</Words>;
      return <AccessLink tab="enrolment-keys" text="Make another key" />;
    case "signing_key":
      if (!can(method.registerSigningKey)) return <Words>An administrator registers another key.</Words>;
      return <AccessLink tab="signing-keys" text="Register another key" />;
    default:
      return (
        <Words>
          See which metadata ends, and sign it anew:{" "}
          <CopyText text={`device-ota tuf show ${alert.resourceId}`} />
        </Words>
      );
  }
}

/** Leads to what an alert is about; nothing for the service itself. */
function Look({ alert }: { readonly alert: Alert }) {
  const { resourceType, resourceId: id } = alert;
  switch (resourceType) {
    case "rollout":
      return <RolloutLink alert={alert} text="Look at it" />;
    case "error_group":
      return (
        <Link to="/crashes/$groupId" params={{ groupId: id }}>
          Look at the crash
        </Link>
      );
    case "firmware":
      return <FirmwareLink firmwareId={id} text="Look at it" />;
    case "device":
      return <DeviceLink deviceId={id} text="Look at the device" />;
    case "webhook":
      return (
        <Link to="/alerts/webhooks/$webhookId" params={{ webhookId: id }}>
          Look at the webhook
        </Link>
      );
    case "fleet":
      return (
        <Link to="/devices" search={{ filter: "presence = OFFLINE" }}>
          See which are offline
        </Link>
      );
    default:
      return null;
  }
}

function RolloutLink({
  alert: { resourceId: rolloutId },
  text,
  devices,
}: {
  readonly alert: Alert;
  readonly text: string;
  readonly devices?: "failed" | "missing" | "drifted";
}) {
  return devices === undefined ? (
    <Link to="/rollouts/$rolloutId" params={{ rolloutId }}>
      {text}
    </Link>
  ) : (
    <Link to="/rollouts/$rolloutId" params={{ rolloutId }} search={{ devices }} hash="devices">
      {text}
    </Link>
  );
}

function FirmwareLink({ firmwareId, text }: { readonly firmwareId: string; readonly text: string }) {
  return (
    <Link to="/firmware/$firmwareId" params={{ firmwareId }}>
      {text}
    </Link>
  );
}

function DeviceLink({ deviceId, text }: { readonly deviceId: string; readonly text: string }) {
  return (
    <Link to="/devices/$deviceId" params={{ deviceId }}>
      {text}
    </Link>
  );
}

function AccessLink({
  tab,
  text,
}: {
  readonly tab: "tokens" | "enrolment-keys" | "signing-keys";
  readonly text: string;
}) {
  return (
    <Link to="/access" search={{ tab }}>
      {text}
    </Link>
  );
}

function Words({ children }: { readonly children: ReactNode }) {
  return (
    <Text size="sm" component="span">
      {children}
    </Text>
  );
}
