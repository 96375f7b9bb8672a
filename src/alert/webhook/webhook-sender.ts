import { Round } from "../../infra/background/round.ts";
import type { Clock } from "../../infra/clock.ts";
import type { Database } from "../../infra/database/database.ts";
import type { Session } from "../../infra/database/session.ts";
import { sql } from "../../infra/database/sql.ts";
import type { Logger } from "../../infra/logger.ts";
import { type EventRange, type EventRow, eventOf } from "../event-feed.ts";
import type { WebhookFormat } from "./webhook.entity.ts";
import { webhookMessage } from "./webhook-message.ts";
import { postWebhook } from "./webhook-post.ts";

/** How webhooks are delivered, as the settings say. */
export interface WebhookSettings {
  readonly allowPrivate: boolean;
  /** The most webhooks. */
  readonly max: number;
  /** Deliveries under way at once on this replica. */
  readonly concurrency: number;
  readonly timeoutMs: number;
  /** Before the second try. */
  readonly retryMs: number;
  /** From the first try on. */
  readonly giveUpMs: number;
}

/** Makes a delivery of each event in the range for each webhook that is for it, in the transaction that numbers the events. */
export async function addDeliveries(session: Session, { after, through }: EventRange): Promise<void> {
  await session.run(addSql, [after, through]);
}

/**
 * Delivers events to webhooks. A replica takes what is due on a lease, so that each delivery is tried by one of them at a time, and by another
 * one if that dies: a receiver gets each event at least once. A receiver that is slow or away holds up no other one.
 */
export class WebhookSender {
  readonly round: Round;
  readonly #parts: {
    readonly database: Pick<Database, "pool">;
    readonly settings: WebhookSettings;
    readonly clock: Clock;
    readonly logger: Logger;
  };
  /** Deliveries under way, by webhook. */
  readonly #underWay = new Map<string, number>();
  readonly #sending = new Set<Promise<void>>();
  readonly #stop = new AbortController();

  constructor(parts: {
    readonly database: Pick<Database, "pool">;
    readonly settings: WebhookSettings;
    readonly clock: Clock;
    readonly logger: Logger;
  }) {
    this.#parts = parts;
    const { clock, logger } = parts;
    this.round = new Round({ name: "webhooks", everyMs: lookMs, work: () => this.#look(), clock, logger });
  }

  /** Gives up what is under way, which is tried again when its lease ends. */
  async close(): Promise<void> {
    await this.round.close();
    this.#stop.abort();
    await Promise.all(this.#sending);
  }

  async #look(): Promise<void> {
    const { database, settings } = this.#parts;
    const free = settings.concurrency - this.#sending.size;
    if (free <= 0) return;
    const most = Math.max(1, Math.floor(settings.concurrency / 4));
    const busy = [...this.#underWay];
    const rows = await database.pool.query<DueRow>(claimSql, [
      free,
      most,
      settings.timeoutMs + leaseSlackMs,
      busy.map(([id]) => id),
      busy.map(([, count]) => count),
    ]);
    for (const row of rows) this.#begin(row);
  }

  #begin(row: DueRow): void {
    const id = row.webhook_id;
    this.#underWay.set(id, (this.#underWay.get(id) ?? 0) + 1);
    const sending = this.#send(row)
      .catch((error: unknown) => {
        this.#parts.logger.warn({ err: error, webhookId: id }, "the outcome of a webhook is not written");
      })
      .finally(() => {
        this.#sending.delete(sending);
        const left = (this.#underWay.get(id) ?? 1) - 1;
        if (left === 0) this.#underWay.delete(id);
        else this.#underWay.set(id, left);
        this.round.soon(0);
      });
    this.#sending.add(sending);
  }

  async #send(row: DueRow): Promise<void> {
    const { database, settings, clock } = this.#parts;
    const { allowPrivate, timeoutMs, retryMs, giveUpMs } = settings;
    const message = webhookMessage(eventOf(row), row, clock.now());
    const signal = AbortSignal.any([this.#stop.signal, AbortSignal.timeout(timeoutMs)]);
    const { delivered, words } = await postWebhook(row.url, message, { allowPrivate, signal });
    if (this.#stop.signal.aborted) return;
    const waitMs = Math.min(longestWaitMs, retryMs * 2 ** Math.min(row.attempt_count - 1, 30));
    await database.pool.run(outcomeSql, [
      row.webhook_id,
      row.id,
      row.attempt_count,
      delivered,
      words,
      waitMs * (0.5 + Math.random() / 2),
      giveUpMs,
    ]);
  }
}

interface DueRow extends EventRow {
  readonly webhook_id: string;
  readonly attempt_count: number;
  readonly url: string;
  readonly format: WebhookFormat;
  readonly secret: Buffer;
}

const lookMs = 1_000;

/** How much longer than a try may last its lease does. */
const leaseSlackMs = 5_000;

const longestWaitMs = 3_600_000;

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

/** For each webhook as many of the oldest as it may have under way beyond those that it has; what another replica takes now is passed over. */
const claimSql = sql`
  WITH due AS (
    SELECT d.webhook_id, d.event_id FROM webhooks w
      LEFT JOIN unnest($4::uuid[], $5::int[]) AS busy (id, count) ON busy.id = w.id
      CROSS JOIN LATERAL (
        SELECT webhook_id, event_id, due_at FROM webhook_deliveries
         WHERE webhook_id = w.id AND state = 'PENDING' AND due_at <= now()
         ORDER BY due_at LIMIT greatest(0, $2::int - coalesce(busy.count, 0)) FOR UPDATE SKIP LOCKED) d
     WHERE NOT w.disabled LIMIT $1),
  claimed AS (
    UPDATE webhook_deliveries d SET attempt_count = attempt_count + 1, due_at = now() + make_interval(secs => $3::float8 / 1000)
      FROM due WHERE d.webhook_id = due.webhook_id AND d.event_id = due.event_id
    RETURNING d.webhook_id, d.event_id, d.attempt_count)
  SELECT c.webhook_id, c.attempt_count, w.url, w.format, w.secret, e.id, e.sequence, e.type, e.resource_type, e.resource_id, e.summary, e.details, e.occurred_at
    FROM claimed c JOIN webhooks w ON w.id = c.webhook_id JOIN fleet_events e ON e.id = c.event_id`;

/** Not of a try that took longer than its lease, after which another one has begun. */
const outcomeSql = sql`
  UPDATE webhook_deliveries SET outcome = $5,
      state = CASE WHEN $4::boolean THEN 'DELIVERED'
                   WHEN since < now() - make_interval(secs => $7::float8 / 1000) THEN 'DEAD' ELSE 'PENDING' END,
      due_at = now() + make_interval(secs => $6::float8 / 1000)
   WHERE webhook_id = $1::uuid AND event_id = $2::uuid AND attempt_count = $3 AND state = 'PENDING'`;
