import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import {
  type WebhookDeliverySchema,
  type WebhookSchema,
  WebhookDeliveryState as WireDeliveryState,
  WebhookFormat as WireFormat,
} from "../../../gen/ota/v1/alert_webhook_pb.js";
import type { DeliveryState, WebhookFormat } from "./webhook.entity.ts";
import { isMailUrl } from "./webhook-address.ts";
import type { Delivery, Webhook } from "./webhooks.ts";

/** A webhook on the wire. */
export function webhookMessageOf(webhook: Webhook): MessageInitShape<typeof WebhookSchema> {
  return {
    id: webhook.id,
    name: webhook.name,
    url: shownUrl(webhook),
    format: formats[webhook.format],
    eventTypes: [...webhook.eventTypes],
    disabled: webhook.disabled,
    createTime: timestampFromDate(webhook.createdAt),
    creator: webhook.creator,
    pendingCount: BigInt(webhook.pending),
    deadCount: BigInt(webhook.dead),
  };
}

/** A delivery on the wire. */
export function deliveryMessage(delivery: Delivery): MessageInitShape<typeof WebhookDeliverySchema> {
  return {
    eventId: delivery.eventId,
    eventType: delivery.eventType,
    eventCursor: String(delivery.sequence),
    state: deliveryStates[delivery.state],
    attemptCount: delivery.attempts,
    outcome: delivery.outcome,
    ...(delivery.state === "PENDING" && { nextAttemptTime: timestampFromDate(delivery.dueAt) }),
  };
}

/** The path of a Slack URL is its secret, and so may a query be. */
function shownUrl({ url, format }: Webhook): string {
  if (format === "EMAIL") return url;
  const { origin, pathname } = new URL(url);
  return format === "SLACK" ? `${origin}/…` : `${origin}${pathname}`;
}

/** The format that a request asks for; by the URL unless it says one. */
export function formatOf(wire: WireFormat, url: string): WebhookFormat {
  const named = (Object.keys(formats) as WebhookFormat[]).find((format) => formats[format] === wire);
  return named ?? (isMailUrl(url) ? "EMAIL" : "CLOUD_EVENTS");
}

/** The state that a request asks for; undefined for any. */
export function deliveryStateOf(wire: WireDeliveryState): DeliveryState | undefined {
  return (Object.keys(deliveryStates) as DeliveryState[]).find((state) => deliveryStates[state] === wire);
}

const formats: Readonly<Record<WebhookFormat, WireFormat>> = {
  CLOUD_EVENTS: WireFormat.CLOUD_EVENTS,
  SLACK: WireFormat.SLACK,
  EMAIL: WireFormat.EMAIL,
};

const deliveryStates: Readonly<Record<DeliveryState, WireDeliveryState>> = {
  PENDING: WireDeliveryState.PENDING,
  DELIVERED: WireDeliveryState.DELIVERED,
  DEAD: WireDeliveryState.DEAD,
};
