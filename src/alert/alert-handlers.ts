import { AlertService } from "../../gen/ota/v1/alert_service_pb.js";
import { apiCalls, type Endpoint, serverStream, unary } from "../api/pipeline/endpoint.ts";
import { actorOf } from "../call/identity.ts";
import { listPage } from "../call/list-page.ts";
import { type PageTokens, pageSize } from "../call/page-token.ts";
import { alertMessage, eventMessage, firingIn } from "./alert-messages.ts";
import type { Alerts } from "./alerts.ts";
import { type EventFeed, sequenceOf } from "./event-feed.ts";

/** What the handlers of AlertService call. */
export interface AlertParts {
  readonly alerts: Alerts;
  readonly events: EventFeed;
  readonly pageTokens: PageTokens;
}

/** The endpoints of AlertService. */
export function alertEndpoints({ alerts, events, pageTokens }: AlertParts): Endpoint[] {
  return [
    unary(AlertService.method.listAlerts, apiCalls, async (request) => {
      const { rule, resourceId, unacknowledged } = request;
      const filter = { firing: firingIn(request.state), rule, resourceId, unacknowledged };
      const [page, unacknowledgedCount] = await Promise.all([
        listPage(
          pageTokens,
          request,
          { list: "alerts", ...filter },
          { list: (position) => alerts.list(filter, position), keyOf: ({ id }) => id },
        ),
        alerts.countUnacknowledged(),
      ]);
      return { alerts: page.rows.map(alertMessage), nextPageToken: page.nextPageToken, unacknowledgedCount };
    }),
    unary(AlertService.method.acknowledgeAlert, apiCalls, async ({ id, note }, { identity }) => ({
      alert: alertMessage(await alerts.acknowledge({ actor: actorOf(identity), id, note: note.trim() })),
    })),
    unary(AlertService.method.listEvents, apiCalls, async (request) => {
      const from = sequenceOf(request.cursor) ?? 0;
      const found = await events.after(from, pageSize(request.pageSize));
      return { events: found.map(eventMessage), cursor: String(found.at(-1)?.sequence ?? from) };
    }),
    serverStream(AlertService.method.watchEvents, apiCalls, async function* ({ cursor }, { signal }) {
      for await (const { events: found, sequence } of events.watch(sequenceOf(cursor), signal))
        yield { events: found.map(eventMessage), cursor: String(sequence) };
    }),
  ];
}
