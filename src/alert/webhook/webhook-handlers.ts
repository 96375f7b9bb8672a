import { WebhookService } from "../../../gen/ota/v1/alert_webhook_service_pb.js";
import { apiCalls, type Endpoint, unary } from "../../api/pipeline/endpoint.ts";
import { actorOf } from "../../call/identity.ts";
import { listPage } from "../../call/list-page.ts";
import type { PageTokens } from "../../call/page-token.ts";
import { deliveryMessage, deliveryStateOf, formatOf, webhookMessageOf } from "./webhook-messages.ts";
import type { Webhooks } from "./webhooks.ts";

/** What the handlers of WebhookService call. */
export interface WebhookParts {
  readonly webhooks: Webhooks;
  readonly pageTokens: PageTokens;
}

const { method } = WebhookService;

/** The endpoints of WebhookService. */
export function webhookEndpoints({ webhooks, pageTokens }: WebhookParts): Endpoint[] {
  return [
    unary(method.createWebhook, apiCalls, async (request, { identity }) => {
      const made = await webhooks.create({
        actor: actorOf(identity),
        requestId: request.requestId || undefined,
        name: request.name,
        url: request.url,
        format: formatOf(request.format, request.url),
        eventTypes: request.eventTypes,
      });
      return { webhook: webhookMessageOf(made.webhook), secret: made.secret };
    }),
    unary(method.listWebhooks, apiCalls, async () => ({
      webhooks: (await webhooks.list()).map(webhookMessageOf),
    })),
    unary(method.updateWebhook, apiCalls, async ({ id, disabled, url, rotateSecret }, { identity }) => {
      const actor = actorOf(identity);
      const changed = await webhooks.update({ actor, id, disabled, url, rotateSecret });
      return { webhook: webhookMessageOf(changed.webhook), secret: changed.secret };
    }),
    unary(method.deleteWebhook, apiCalls, async ({ id }, { identity }) => {
      await webhooks.delete(actorOf(identity), id);
      return {};
    }),
    unary(method.testWebhook, apiCalls, async ({ id }, { identity }) => ({
      eventId: await webhooks.test(actorOf(identity), id),
    })),
    unary(method.listWebhookDeliveries, apiCalls, async (request) => {
      const state = deliveryStateOf(request.state);
      const page = await listPage(
        pageTokens,
        request,
        { list: "webhook_deliveries", id: request.id, state },
        {
          list: (position) => webhooks.deliveries(request.id, state, position),
          keyOf: ({ sequence }) => String(sequence),
        },
      );
      return { deliveries: page.rows.map(deliveryMessage), nextPageToken: page.nextPageToken };
    }),
    unary(method.replayDeadLetters, apiCalls, async ({ id, eventId }, { identity }) => ({
      replayedCount: BigInt(await webhooks.replay(actorOf(identity), id, eventId || undefined)),
    })),
  ];
}
