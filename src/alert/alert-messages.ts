import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import {
  type AlertSchema,
  type EventSchema,
  AlertSeverity as WireSeverity,
  AlertState as WireState,
} from "../../gen/ota/v1/alert_pb.js";
import type { RemedySchema } from "../../gen/ota/v1/remedy_pb.js";
import type { AlertRow, AlertSeverity } from "./alert.entity.ts";
import type { FleetEvent } from "./event-feed.ts";

/** A remedy on the wire. */
export type RemedyMessage = MessageInitShape<typeof RemedySchema>;

/** An alert on the wire, with what would help. */
export function alertMessage(
  alert: AlertRow,
  remedies: readonly RemedyMessage[],
): MessageInitShape<typeof AlertSchema> {
  return {
    id: alert.id,
    key: alert.key,
    rule: alert.rule,
    severity: severities[alert.severity],
    state: alert.resolvedAt ? WireState.RESOLVED : WireState.FIRING,
    resourceType: alert.resourceType,
    resourceId: alert.resourceId,
    summary: alert.summary,
    fireTime: timestampFromDate(alert.firedAt),
    ...(alert.resolvedAt && { resolveTime: timestampFromDate(alert.resolvedAt) }),
    ...(alert.acknowledgedAt && { acknowledgeTime: timestampFromDate(alert.acknowledgedAt) }),
    acknowledger: alert.acknowledger,
    acknowledgementNote: alert.note,
    remedies: [...remedies],
    ...(alert.clearSince && { clearTime: timestampFromDate(alert.clearSince) }),
  };
}

/** An event on the wire. */
export function eventMessage(event: FleetEvent): MessageInitShape<typeof EventSchema> {
  return {
    id: event.id,
    type: event.type,
    time: timestampFromDate(event.occurredAt),
    resourceType: event.resourceType,
    resourceId: event.resourceId,
    summary: event.summary,
    details: event.details,
    cursor: String(event.sequence),
  };
}

/** Whether alerts have to fire to be in that state of a request; undefined for any state. */
export function firingIn(state: WireState): boolean | undefined {
  if (state === WireState.UNSPECIFIED) return undefined;
  return state === WireState.FIRING;
}

const severities: Readonly<Record<AlertSeverity, WireSeverity>> = {
  WARNING: WireSeverity.WARNING,
  CRITICAL: WireSeverity.CRITICAL,
};
