import { randomBytes } from "node:crypto";
import { v7 as uuidv7 } from "uuid";
import { fromTo } from "../../access/audit-change.ts";
import type { AuditLog } from "../../access/audit-log.ts";
import { invalidArgument, notFound, OtaError } from "../../errors.ts";
import type { Database } from "../../infra/database/database.ts";
import { uniqueViolation } from "../../infra/database/errors.ts";
import type { IdempotencyKeys } from "../../infra/database/idempotency-keys.ts";
import { requestDigest } from "../../infra/database/request-digest.ts";
import type { Session } from "../../infra/database/session.ts";
import { sql } from "../../infra/database/sql.ts";
import type { DeliveryState, WebhookFormat } from "./webhook.entity.ts";
import { mailAddressOf, requireWebhookUrl } from "./webhook-address.ts";
import type { WebhookSettings } from "./webhook-sender.ts";

/** A receiver of events, without its secret. */
export interface Webhook {
  readonly id: string;
  readonly name: string;
  readonly url: string;
  readonly format: WebhookFormat;
  readonly eventTypes: readonly string[];
  readonly disabled: boolean;
  readonly creator: string;
  readonly createdAt: Date;
  readonly pending: number;
  readonly dead: number;
}

/** An event on its way to a receiver. */
export interface Delivery {
  readonly eventId: string;
  readonly eventType: string;
  readonly sequence: number;
  readonly state: DeliveryState;
  readonly attempts: number;
  readonly outcome: string;
  readonly dueAt: Date;
}

/** A webhook to make. */
export interface NewWebhook {
  readonly actor: string;
  /** The caller's UUID of this try (AIP-155). */
  readonly requestId: string | undefined;
  readonly name: string;
  readonly url: string;
  readonly format: WebhookFormat;
  readonly eventTypes: readonly string[];
}

/** What to change of a webhook; what is undefined stays. */
export interface WebhookChange {
  readonly actor: string;
  readonly id: string;
  readonly disabled: boolean | undefined;
  readonly url: string | undefined;
  readonly rotateSecret: boolean;
}

/** What {@link Webhooks} are made of. */
export interface WebhooksParts {
  readonly database: Pick<Database, "transact" | "pool">;
  readonly idempotency: IdempotencyKeys;
  readonly audit: AuditLog;
  readonly settings: WebhookSettings;
  /** Whether there is a server that takes e-mails. */
  readonly canMail: boolean;
}

/** The receivers of events as administrators keep them. Nothing that it returns but a fresh secret is one. */
export class Webhooks {
  readonly #parts: WebhooksParts;

  constructor(parts: WebhooksParts) {
    this.#parts = parts;
  }

  /**
   * Makes a webhook and returns its secret, which is empty for an e-mail. A repeat with the same request id returns the same webhook with a fresh secret, and the
   * lost one signs nothing any more. Throws `REQUEST_ID_REUSED`, `WEBHOOK_URL_REFUSED`, `EMAIL_NOT_SET_UP`, `DUPLICATE` for a name that is taken,
   * `TOO_MANY_WEBHOOKS`, and `NOT_FOUND` for the repeat of one that is deleted.
   */
  async create(request: NewWebhook): Promise<{ readonly webhook: Webhook; readonly secret: string }> {
    const { database, idempotency, audit, settings } = this.#parts;
    const { actor, requestId, name, url, format, eventTypes } = request;
    this.#requireUrl(url, format);
    const secret = format === "EMAIL" ? noSecret : randomBytes(secretBytes);
    const key = {
      caller: actor,
      method: "ota.v1.WebhookService/CreateWebhook",
      requestId,
      requestDigest: requestDigest({ name, url, format, eventTypes }),
    };
    try {
      const webhook = await database.transact(async (em, session) => {
        const { resourceId: id, repeated } = await idempotency.once(em, key, async () => {
          const [counted] = await session.query<{ count: number }>(countSql);
          if ((counted?.count ?? 0) >= settings.max) throw tooMany(settings.max);
          const made = uuidv7();
          await session.run(insertSql, [made, name, url, format, secret, eventTypes, actor]);
          return made;
        });
        const made = await read(session, id);
        if (repeated && format === "EMAIL") return made;
        if (repeated) await session.run(updateSql, [id, null, null, secret]);
        const [place, target] = targetOf({ url, format });
        const details = { name, [place]: target, event_types: eventTypes.join(",") };
        await audit.record(em, {
          actor,
          action: repeated ? "webhook.update" : "webhook.create",
          resourceType: "webhook",
          resourceId: id,
          details: repeated ? { secret: "rotated" } : details,
        });
        return made;
      });
      return { webhook, secret: secretText(secret) };
    } catch (error) {
      if (uniqueViolation(error) !== "webhooks_name_unique") throw error;
      throw new OtaError("already_exists", "DUPLICATE", `there is a webhook named ${name} already`, {
        metadata: { resource: "webhook", name },
      });
    }
  }

  /** All of them by name. */
  async list(): Promise<Webhook[]> {
    return (await this.#parts.database.pool.query<WebhookRow>(listSql, [null])).map(webhookOf);
  }

  /** Returns the secret if a new one was asked for. Throws `NOT_FOUND`, `WEBHOOK_URL_REFUSED`, `EMAIL_NOT_SET_UP`, `INVALID_REQUEST`. */
  async update(change: WebhookChange): Promise<{ readonly webhook: Webhook; readonly secret: string }> {
    const { database, audit } = this.#parts;
    const { actor, id, disabled, url, rotateSecret } = change;
    const secret = rotateSecret ? randomBytes(secretBytes) : undefined;
    const webhook = await database.transact(async (em, session) => {
      const before = await read(session, id);
      const { format } = before;
      if (url !== undefined) this.#requireUrl(url, format);
      if (rotateSecret && format === "EMAIL")
        throw invalidArgument("rotate_secret", "is not for e-mails, which are not signed");
      const [place, target] = targetOf(before);
      await session.run(updateSql, [id, disabled ?? null, url ?? null, secret ?? null]);
      const details = {
        ...(disabled === undefined ? {} : fromTo("disabled", before.disabled, disabled)),
        ...(url === undefined ? {} : fromTo(place, target, targetOf({ url, format })[1])),
        ...(rotateSecret ? { secret: "rotated" } : {}),
      };
      const resource = { resourceType: "webhook", resourceId: id };
      await audit.record(em, { actor, action: "webhook.update", ...resource, details });
      return await read(session, id);
    });
    return { webhook, secret: secret === undefined ? "" : secretText(secret) };
  }

  /** Throws `NOT_FOUND`. */
  async delete(actor: string, id: string): Promise<void> {
    const { database, audit } = this.#parts;
    await database.transact(async (em, session) => {
      if ((await session.run(deleteSql, [id])) === 0) throw notFound("webhook", id);
      await audit.record(em, { actor, action: "webhook.delete", resourceType: "webhook", resourceId: id });
    });
  }

  /** Puts an event for this webhook alone on its way; returns its id. Throws `NOT_FOUND`. */
  async test(actor: string, id: string): Promise<string> {
    const [event] = await this.#parts.database.pool.query<{ id: string }>(testSql, [id, actor]);
    if (event === undefined) throw notFound("webhook", id);
    return event.id;
  }

  /** Deliveries of a webhook, of the newest event first; `after`: behind the event of that number. */
  async deliveries(
    id: string,
    state: DeliveryState | undefined,
    { limit, after }: { readonly limit: number; readonly after?: string | undefined },
  ): Promise<Delivery[]> {
    const values = [id, state ?? null, after ?? null, limit];
    const rows = await this.#parts.database.pool.query<DeliveryRow>(deliveriesSql, values);
    return rows.map((row) => ({
      eventId: row.event_id,
      eventType: row.type,
      sequence: Number(row.sequence),
      state: row.state,
      attempts: row.attempt_count,
      outcome: row.outcome,
      dueAt: row.due_at,
    }));
  }

  #requireUrl(url: string, format: WebhookFormat): void {
    const { settings, canMail } = this.#parts;
    if (format !== "EMAIL") {
      requireWebhookUrl(url, settings.allowPrivate);
      return;
    }
    mailAddressOf(url);
    if (!canMail) throw emailNotSetUp();
  }

  /** Tries dead letters again, all or that of one event; returns how many. Throws `NOT_FOUND`. */
  async replay(actor: string, id: string, eventId: string | undefined): Promise<number> {
    const { database, audit } = this.#parts;
    return await database.transact(async (em, session) => {
      await read(session, id);
      const count = await session.run(replaySql, [id, eventId ?? null]);
      const resource = { resourceType: "webhook", resourceId: id };
      const details = { count: String(count) };
      if (count > 0) await audit.record(em, { actor, action: "webhook.replay", ...resource, details });
      return count;
    });
  }
}

interface WebhookRow {
  readonly id: string;
  readonly name: string;
  readonly url: string;
  readonly format: WebhookFormat;
  readonly event_types: readonly string[];
  readonly disabled: boolean;
  readonly creator: string;
  readonly created_at: Date;
  readonly pending: string;
  readonly dead: string;
}

interface DeliveryRow {
  readonly event_id: string;
  readonly type: string;
  readonly sequence: string;
  readonly state: DeliveryState;
  readonly attempt_count: number;
  readonly outcome: string;
  readonly due_at: Date;
}

async function read(session: Pick<Session, "query">, id: string): Promise<Webhook> {
  const [row] = await session.query<WebhookRow>(listSql, [id]);
  if (row === undefined) throw notFound("webhook", id);
  return webhookOf(row);
}

function webhookOf(row: WebhookRow): Webhook {
  return {
    id: row.id,
    name: row.name,
    url: row.url,
    format: row.format,
    eventTypes: row.event_types,
    disabled: row.disabled,
    creator: row.creator,
    createdAt: row.created_at,
    pending: Number(row.pending),
    dead: Number(row.dead),
  };
}

/** As Standard Webhooks write it; empty for none. */
function secretText(secret: Buffer): string {
  return secret.length === 0 ? "" : `whsec_${secret.toString("base64")}`;
}

/** Where messages go, for the audit log: a URL's host alone, for its path may be a secret of the receiver. */
function targetOf({
  url,
  format,
}: Pick<Webhook, "url" | "format">): readonly [place: string, target: string] {
  return format === "EMAIL" ? ["to", mailAddressOf(url)] : ["host", new URL(url).host];
}

function emailNotSetUp(): OtaError {
  const words = "this service has no server that takes e-mails: whoever runs it sets DEVICE_OTA_SMTP_HOST";
  return new OtaError("failed_precondition", "EMAIL_NOT_SET_UP", words);
}

function tooMany(limit: number): OtaError {
  const words = `there are ${limit} webhooks, and the setting allows no more`;
  return new OtaError("resource_exhausted", "TOO_MANY_WEBHOOKS", words, {
    metadata: { limit: String(limit) },
  });
}

const secretBytes = 32;

/** E-mails are not signed. */
const noSecret = Buffer.alloc(0);

const countSql = sql`SELECT count(*)::int AS count FROM webhooks`;

const insertSql = sql`
  INSERT INTO webhooks (id, name, url, format, secret, event_types, creator) VALUES ($1, $2, $3, $4, $5, $6::text[], $7)`;

const listSql = sql`
  SELECT w.id, w.name, w.url, w.format, w.event_types, w.disabled, w.creator, w.created_at,
         count(d.event_id) FILTER (WHERE d.state = 'PENDING') AS pending, count(d.event_id) FILTER (WHERE d.state = 'DEAD') AS dead
    FROM webhooks w LEFT JOIN webhook_deliveries d ON d.webhook_id = w.id AND d.state <> 'DELIVERED'
   WHERE $1::uuid IS NULL OR w.id = $1::uuid GROUP BY w.id ORDER BY w.name`;

const updateSql = sql`
  UPDATE webhooks SET disabled = coalesce($2::boolean, disabled), url = coalesce($3::text, url), secret = coalesce($4::bytea, secret)
   WHERE id = $1::uuid`;

const deleteSql = sql`DELETE FROM webhooks WHERE id = $1::uuid`;

const testSql = sql`
  INSERT INTO fleet_events (id, type, resource_type, resource_id, summary, details)
  SELECT gen_random_uuid(), 'webhook.test', 'webhook', id::text, format('a test of the webhook %s', name), jsonb_build_object('actor', $2::text)
    FROM webhooks WHERE id = $1::uuid RETURNING id`;

const deliveriesSql = sql`
  SELECT d.event_id, e.type, e.sequence, d.state, d.attempt_count, d.outcome, d.due_at
    FROM webhook_deliveries d JOIN fleet_events e ON e.id = d.event_id
   WHERE d.webhook_id = $1::uuid AND ($2::text IS NULL OR d.state = $2::text) AND ($3::bigint IS NULL OR e.sequence < $3::bigint)
   ORDER BY e.sequence DESC LIMIT $4`;

const replaySql = sql`
  UPDATE webhook_deliveries SET state = 'PENDING', attempt_count = 0, due_at = now(), since = now()
   WHERE webhook_id = $1::uuid AND state = 'DEAD' AND ($2::uuid IS NULL OR event_id = $2::uuid)`;
