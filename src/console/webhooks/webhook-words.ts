import { type Webhook, WebhookDeliveryState, WebhookFormat } from "../../../gen/ota/v1/alert_webhook_pb.js";
import { counted } from "../ui/format.ts";
import type { Tone } from "../ui/status.tsx";

/** In which form a receiver is told, in words. */
export const formatNames: Readonly<Record<WebhookFormat, string>> = {
  [WebhookFormat.UNSPECIFIED]: "as the address says",
  [WebhookFormat.CLOUD_EVENTS]: "CloudEvents, signed",
  [WebhookFormat.SLACK]: "Slack",
  [WebhookFormat.EMAIL]: "e-mail",
};

/** How far a delivery is. */
export const deliveryStates: Readonly<
  Record<WebhookDeliveryState, { readonly tone: Tone; readonly text: string }>
> = {
  [WebhookDeliveryState.UNSPECIFIED]: { tone: "idle", text: "Unknown" },
  [WebhookDeliveryState.PENDING]: { tone: "busy", text: "Waiting" },
  [WebhookDeliveryState.DELIVERED]: { tone: "good", text: "Delivered" },
  [WebhookDeliveryState.DEAD]: { tone: "bad", text: "Given up" },
};

/** How a webhook does. */
export function webhookStatus({ disabled, deadCount }: Webhook): {
  readonly tone: Tone;
  readonly text: string;
} {
  if (disabled) return { tone: "idle", text: "Paused" };
  if (deadCount > 0n)
    return { tone: "bad", text: `${counted(deadCount, "delivery", "deliveries")} given up` };
  return { tone: "good", text: "Sends" };
}

/** Which events it is for. */
export function eventsText({ eventTypes }: Webhook): string {
  return eventTypes.length === 0 ? "all" : eventTypes.join(", ");
}

/** Above and below a webhook's secret, where it is shown. */
export const secretWords = {
  title: "The secret of the webhook",
  hint: "Give it to the receiver, which checks by it that messages are ours.",
};
