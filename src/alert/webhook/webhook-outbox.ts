import type { Session } from "../../infra/database/session.ts";
import { sql } from "../../infra/database/sql.ts";
import { type EventRange, type EventRow, eventOf, type FleetEvent } from "../event-feed.ts";
import type { WebhookFormat } from "./webhook.entity.ts";

/** What is sent in one message: an event, or with e-mails all that wait. */
export interface Dispatch {
  readonly webhook: {
    readonly id: string;
    readonly name: string;
    readonly url: string;
    readonly format: WebhookFormat;
    readonly secret: Buffer;
  };
  /** In the order of the feed. */
  readonly deliveries: readonly [DueDelivery, ...DueDelivery[]];
}

interface DueDelivery {
  readonly event: FleetEvent;
  /** The first try is 1. */
  readonly attempt: number;
}

/** What became of a try. */
export interface TryOutcome {
  readonly delivered: boolean;
  /** Whether the receiver refused it for good, so that no further try is of use. */
  readonly refused?: boolean;
  /** In words. */
  readonly words: string;
}

/** Makes a delivery of each event in the range for each webhook that is for it, in the transaction that numbers the events. */
export async function addDeliveries(session: Session, { after, through }: EventRange): Promise<void> {
  await session.run(addSql, [after, through]);
}

/**
 * Takes what is due to be posted on a lease: at most `most` deliveries, and of one webhook as many as make `mostOfOne` with those that are
 * under way here.
 */
export async function claimPosts(
  session: Pick<Session, "query">,
  claim: {
    readonly most: number;
    readonly mostOfOne: number;
    readonly leaseMs: number;
    /** Deliveries by webhook. */
    readonly underWay: ReadonlyMap<string, number>;
  },
): Promise<Dispatch[]> {
  const { most, mostOfOne, leaseMs, underWay } = claim;
  const values = [most, mostOfOne, leaseMs, [...underWay.keys()], [...underWay.values()]];
  return (await session.query<ClaimedRow>(claimPostsSql, values)).map((row) => dispatchOf(row));
}

/**
 * Takes e-mails that are due on a lease, at most `most`, each with all events that wait for it, at most `maxEvents`: also those that wait for
 * a further try, so that what an outage gathers comes in one.
 */
export async function claimMails(
  session: Pick<Session, "query">,
  {
    most,
    maxEvents,
    leaseMs,
  }: { readonly most: number; readonly maxEvents: number; readonly leaseMs: number },
): Promise<Dispatch[]> {
  const rows = await session.query<ClaimedRow>(claimMailsSql, [most, maxEvents, leaseMs]);
  const byWebhook = Map.groupBy(rows, (row) => row.webhook_id);
  return [...byWebhook.values()].flatMap(([first, ...more]) =>
    first === undefined ? [] : [dispatchOf(first, more)],
  );
}

/**
 * Writes down what became of a try. What was not delivered is due again after `retryMs`, unless it was refused or is older than `giveUpMs`; the next
 * e-mail is due after `nextMailMs`.
 */
export async function settle(
  session: Pick<Session, "run">,
  { webhook, deliveries }: Dispatch,
  { delivered, refused = false, words }: TryOutcome,
  waits: { readonly retryMs: number; readonly giveUpMs: number; readonly nextMailMs: number },
): Promise<void> {
  await session.run(outcomeSql, [
    webhook.id,
    deliveries.map(({ event }) => event.id),
    deliveries.map(({ attempt }) => attempt),
    delivered,
    refused,
    words,
    waits.retryMs,
    waits.giveUpMs,
    waits.nextMailMs,
  ]);
}

interface ClaimedRow extends EventRow {
  readonly webhook_id: string;
  readonly attempt_count: number;
  readonly name: string;
  readonly url: string;
  readonly format: WebhookFormat;
  readonly secret: Buffer;
}

function dispatchOf(first: ClaimedRow, more: readonly ClaimedRow[] = []): Dispatch {
  const { webhook_id: id, name, url, format, secret } = first;
  return {
    webhook: { id, name, url, format, secret },
    deliveries: [deliveryOf(first), ...more.map(deliveryOf)],
  };
}

function deliveryOf(row: ClaimedRow): DueDelivery {
  return { event: eventOf(row), attempt: row.attempt_count };
}

/** A test is for the webhook that it is about, whatever that is for. */
const addSql = sql`
  INSERT INTO webhook_deliveries (webhook_id, event_id)
  SELECT w.id, e.id FROM fleet_events e JOIN webhooks w ON CASE
      WHEN e.type = 'webhook.test' THEN e.resource_id = w.id::text
      ELSE w.event_types = '{}' OR EXISTS (
        SELECT FROM unnest(w.event_types) AS t (type)
         WHERE e.type = t.type OR (right(t.type, 1) = '*' AND starts_with(e.type, left(t.type, -1)))) END
   WHERE e.sequence > $1::bigint AND e.sequence <= $2::bigint
  ON CONFLICT DO NOTHING`;

/** Claims `due`, until the lease in $3 ends. */
const claimed = sql`
  claimed AS (
    UPDATE webhook_deliveries d SET attempt_count = attempt_count + 1, due_at = now() + make_interval(secs => $3::float8 / 1000)
      FROM due WHERE d.webhook_id = due.webhook_id AND d.event_id = due.event_id
    RETURNING d.webhook_id, d.event_id, d.attempt_count)
  SELECT c.webhook_id, c.attempt_count, w.name, w.url, w.format, w.secret,
         e.id, e.sequence, e.type, e.resource_type, e.resource_id, e.summary, e.details, e.occurred_at
    FROM claimed c JOIN webhooks w ON w.id = c.webhook_id JOIN fleet_events e ON e.id = c.event_id ORDER BY e.sequence`;

/** For each webhook as many of the oldest as it may have under way beyond those that it has; what another replica takes now is passed over. */
const claimPostsSql = sql`
  WITH due AS (
    SELECT d.webhook_id, d.event_id FROM webhooks w
      LEFT JOIN unnest($4::uuid[], $5::int[]) AS busy (id, count) ON busy.id = w.id
      CROSS JOIN LATERAL (
        SELECT webhook_id, event_id, due_at FROM webhook_deliveries
         WHERE webhook_id = w.id AND state = 'PENDING' AND due_at <= now()
         ORDER BY due_at LIMIT greatest(0, $2::int - coalesce(busy.count, 0)) FOR UPDATE SKIP LOCKED) d
     WHERE NOT w.disabled AND w.format <> 'EMAIL' LIMIT $1),
  ${claimed}`;

/** Of one webhook one e-mail is under way over all replicas, so whatever of it is pending is nobody's. */
const claimMailsSql = sql`
  WITH ready AS (
    SELECT w.id FROM webhooks w
     WHERE w.format = 'EMAIL' AND NOT w.disabled AND w.mail_due_at <= now()
       AND EXISTS (SELECT FROM webhook_deliveries WHERE webhook_id = w.id AND state = 'PENDING' AND due_at <= now())
     ORDER BY w.mail_due_at LIMIT $1 FOR UPDATE SKIP LOCKED),
  leased AS (
    UPDATE webhooks w SET mail_due_at = now() + make_interval(secs => $3::float8 / 1000) FROM ready WHERE w.id = ready.id),
  due AS (
    SELECT d.webhook_id, d.event_id FROM ready CROSS JOIN LATERAL (
      SELECT webhook_id, event_id FROM webhook_deliveries
       WHERE webhook_id = ready.id AND state = 'PENDING' ORDER BY due_at LIMIT $2 FOR UPDATE SKIP LOCKED) d),
  ${claimed}`;

/** Not of a try that took longer than its lease, after which another one has begun. */
const outcomeSql = sql`
  WITH tried AS (
    UPDATE webhook_deliveries d SET outcome = $6, (state, due_at) = (
        SELECT next.state, CASE next.state WHEN 'PENDING' THEN now() + make_interval(secs => $7::float8 / 1000) ELSE now() END
          FROM (SELECT CASE WHEN $4::boolean THEN 'DELIVERED'
                            WHEN $5::boolean OR d.since < now() - make_interval(secs => $8::float8 / 1000) THEN 'DEAD'
                            ELSE 'PENDING' END) AS next (state))
      FROM unnest($2::uuid[], $3::int[]) AS t (event_id, attempt)
     WHERE d.webhook_id = $1::uuid AND d.event_id = t.event_id AND d.attempt_count = t.attempt AND d.state = 'PENDING'
    RETURNING d.webhook_id)
  UPDATE webhooks SET mail_due_at = now() + make_interval(secs => $9::float8 / 1000)
   WHERE format = 'EMAIL' AND id IN (SELECT webhook_id FROM tried)`;
