import { AlertService } from "../../gen/ota/v1/alert_service_pb.js";
import { apiCalls, type Endpoint, serverStream, unary } from "../api/pipeline/endpoint.ts";
import { actorOf } from "../call/identity.ts";
import { listPage } from "../call/list-page.ts";
import { type PageTokens, pageSize } from "../call/page-token.ts";
import type { AlertRow } from "./alert.entity.ts";
import { alertListFilter } from "./alert-filter.ts";
import { alertMessage, eventMessage, firingIn, type RemedyMessage } from "./alert-messages.ts";
import type { Alerts } from "./alerts.ts";
import { type EventFeed, sequenceOf } from "./event-feed.ts";

/** What the handlers of AlertService call. */
export interface AlertParts {
  readonly alerts: Alerts;
  readonly events: EventFeed;
  readonly pageTokens: PageTokens;
  /** What would help, by rollout; none for those that nothing is known of. */
  readonly rolloutRemedies: (
    rolloutIds: readonly string[],
  ) => Promise<ReadonlyMap<string, readonly RemedyMessage[]>>;
}

/** The endpoints of AlertService. */
export function alertEndpoints({ alerts, events, pageTokens, rolloutRemedies }: AlertParts): Endpoint[] {
  const messages = async (rows: readonly AlertRow[]) => {
    const ids = rows.filter(wantsRollout).map(({ resourceId }) => resourceId);
    const remedies = ids.length === 0 ? undefined : await rolloutRemedies([...new Set(ids)]);
    return rows.map((row) =>
      alertMessage(row, wantsRollout(row) ? (remedies?.get(row.resourceId) ?? []) : []),
    );
  };
  return [
    unary(AlertService.method.listAlerts, apiCalls, async (request) => {
      const { rule, resourceId, unacknowledged, acknowledged } = request;
      const matching = alertListFilter.read(request.filter);
      const firing = firingIn(request.state);
      const filter = { firing, rule, resourceId, unacknowledged, acknowledged, matching };
      const [page, counts] = await Promise.all([
        listPage(
          pageTokens,
          request,
          { list: "alerts", ...filter },
          { list: (position) => alerts.list(filter, position), keyOf: ({ id }) => id },
        ),
        alerts.countFiring(),
      ]);
      return {
        alerts: await messages(page.rows),
        nextPageToken: page.nextPageToken,
        unacknowledgedCount: counts.unacknowledged,
        acknowledgedCount: counts.acknowledged,
      };
    }),
    unary(AlertService.method.acknowledgeAlert, apiCalls, async ({ id, note }, { identity }) => {
      const row = await alerts.acknowledge({ actor: actorOf(identity), id, note: note.trim() });
      const [alert] = await messages([row]);
      return alert === undefined ? {} : { alert };
    }),
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

/** Whether an alert says what a rollout says of itself, so that what helps the rollout ends it. */
function wantsRollout({ rule, resolvedAt }: AlertRow): boolean {
  return resolvedAt === null && rolloutRules.has(rule);
}

const rolloutRules: ReadonlySet<string> = new Set([
  "rollout.rolled_back",
  "rollout.awaits_approval",
  "rollout.stuck",
  "rollout.attention",
]);
