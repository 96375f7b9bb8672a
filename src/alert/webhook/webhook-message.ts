import { createHmac } from "node:crypto";
import type { FleetEvent } from "../event-feed.ts";
import type { WebhookFormat } from "./webhook.entity.ts";

/** What is posted to a receiver. */
export interface WebhookMessage {
  readonly body: string;
  readonly headers: Readonly<Record<string, string>>;
}

/**
 * The message of an event, signed as Standard Webhooks 1.0 say: `webhook-id` stays the same with each try, so that a receiver knows a
 * repeat, and `webhook-timestamp` is that of the try, so that it knows an old one.
 */
export function webhookMessage(
  event: FleetEvent,
  { format, secret }: { readonly format: WebhookFormat; readonly secret: Uint8Array },
  now: Date,
): WebhookMessage {
  const body = JSON.stringify(format === "SLACK" ? slackText(event) : cloudEvent(event));
  const timestamp = String(Math.floor(now.getTime() / 1_000));
  const signature = createHmac("sha256", secret).update(`${event.id}.${timestamp}.${body}`).digest("base64");
  return {
    body,
    headers: {
      "content-type": format === "SLACK" ? "application/json" : "application/cloudevents+json",
      "webhook-id": event.id,
      "webhook-timestamp": timestamp,
      "webhook-signature": `v1,${signature}`,
    },
  };
}

/** CloudEvents 1.0, structured mode; `sequence` is the extension of that name. */
function cloudEvent(event: FleetEvent): object {
  return {
    specversion: "1.0",
    id: event.id,
    source: "urn:device-ota",
    type: `ota.v1.${event.type}`,
    time: event.occurredAt.toISOString(),
    subject: [event.resourceType, event.resourceId].filter((part) => part !== "").join("/"),
    sequence: String(event.sequence).padStart(16, "0"),
    datacontenttype: "application/json",
    data: {
      resource_type: event.resourceType,
      resource_id: event.resourceId,
      summary: event.summary,
      details: event.details,
    },
  };
}

/** What devices and people said is escaped, as Slack asks, so that it is no link and calls nobody. */
function slackText(event: FleetEvent): object {
  const about = `${event.resourceType} ${event.resourceId}`.trim();
  const text = `[${event.type}] ${event.summary === "" ? about : `${event.summary} (${about})`}`;
  return { text: text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;") };
}
