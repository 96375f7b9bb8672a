import { Round } from "../../infra/background/round.ts";
import type { Clock } from "../../infra/clock.ts";
import type { Database } from "../../infra/database/database.ts";
import type { Logger } from "../../infra/logger.ts";
import type { SmtpServer } from "../../infra/smtp/smtp-server.ts";
import { webhookMail } from "./webhook-mail.ts";
import { webhookMessage } from "./webhook-message.ts";
import { claimMails, claimPosts, type Dispatch, settle, type TryOutcome } from "./webhook-outbox.ts";
import { postWebhook } from "./webhook-post.ts";

/** How webhooks are delivered, as the settings say. */
export interface WebhookSettings {
  readonly allowPrivate: boolean;
  /** The most webhooks. */
  readonly max: number;
  /** Messages under way at once on this replica. */
  readonly concurrency: number;
  /** For a post. */
  readonly timeoutMs: number;
  /** Before the second try. */
  readonly retryMs: number;
  /** From the first try on. */
  readonly giveUpMs: number;
}

/** How e-mails are sent, as the settings say. */
export interface EmailSettings {
  readonly server: { readonly timeoutMs: number; readonly from: { readonly address: string } };
  readonly maxConnections: number;
  /** Between two of one webhook. */
  readonly gatherMs: number;
  /** In one. */
  readonly maxEvents: number;
  /** Where the console is; undefined: nobody knows. */
  readonly publicUrl: string | undefined;
}

/** What {@link WebhookSender} is made of. */
export interface WebhookSenderParts {
  readonly database: Pick<Database, "pool">;
  readonly settings: WebhookSettings;
  /** Undefined: e-mails wait. */
  readonly email: { readonly server: SmtpServer; readonly settings: EmailSettings } | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * Delivers events to webhooks. A replica takes what is due on a lease, so that each delivery is tried by one of them at a time, and by another
 * one if that dies: a receiver gets each event at least once. A receiver that is slow or away holds up no other one.
 */
export class WebhookSender {
  readonly round: Round;
  readonly #parts: WebhookSenderParts;
  /** Posts under way, by webhook. */
  readonly #underWay = new Map<string, number>();
  #mailsUnderWay = 0;
  readonly #sending = new Set<Promise<void>>();
  readonly #stop = new AbortController();

  constructor(parts: WebhookSenderParts) {
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
    const { database, settings, email } = this.#parts;
    const { concurrency, timeoutMs } = settings;
    const posts = concurrency - this.#sending.size;
    if (posts > 0) {
      const mostOfOne = Math.max(1, Math.floor(concurrency / 4));
      const claim = { most: posts, mostOfOne, leaseMs: timeoutMs + leaseSlackMs, underWay: this.#underWay };
      for (const dispatch of await claimPosts(database.pool, claim)) this.#beginPost(dispatch);
    }
    if (email === undefined) return;
    const { maxConnections, maxEvents, server } = email.settings;
    const mails = Math.min(concurrency - this.#sending.size, maxConnections - this.#mailsUnderWay);
    if (mails <= 0) return;
    const claim = { most: mails, maxEvents, leaseMs: server.timeoutMs + leaseSlackMs };
    for (const dispatch of await claimMails(database.pool, claim))
      this.#beginMail(dispatch, email.server, email.settings);
  }

  #beginPost(dispatch: Dispatch): void {
    const { settings, clock } = this.#parts;
    const { webhook, deliveries } = dispatch;
    const { allowPrivate, timeoutMs } = settings;
    this.#underWay.set(webhook.id, (this.#underWay.get(webhook.id) ?? 0) + 1);
    this.#begin({
      dispatch,
      timeoutMs,
      gatherMs: 0,
      send: async (signal) => {
        const message = webhookMessage(deliveries[0].event, webhook, clock.now());
        return await postWebhook(webhook.url, message, { allowPrivate, signal });
      },
      ended: () => {
        const left = (this.#underWay.get(webhook.id) ?? 1) - 1;
        if (left === 0) this.#underWay.delete(webhook.id);
        else this.#underWay.set(webhook.id, left);
      },
    });
  }

  #beginMail(dispatch: Dispatch, smtp: SmtpServer, settings: EmailSettings): void {
    const { clock } = this.#parts;
    const { gatherMs, server, publicUrl } = settings;
    this.#mailsUnderWay += 1;
    this.#begin({
      dispatch,
      timeoutMs: server.timeoutMs,
      gatherMs,
      send: async (signal) => {
        const mail = webhookMail(dispatch, { from: server.from.address, publicUrl }, clock.now());
        const { taken, refused, words } = await smtp.send(mail, signal);
        return { delivered: taken, refused, words };
      },
      ended: () => {
        this.#mailsUnderWay -= 1;
      },
    });
  }

  /** Tries, writes down what came of it, and looks for more. */
  #begin(attempt: Attempt): void {
    const { id: webhookId } = attempt.dispatch.webhook;
    const sending = this.#try(attempt)
      .catch((error: unknown) => {
        this.#parts.logger.warn({ err: error, webhookId }, "the outcome of a webhook is not written");
      })
      .finally(() => {
        this.#sending.delete(sending);
        attempt.ended();
        this.round.soon(0);
      });
    this.#sending.add(sending);
  }

  async #try({ dispatch, timeoutMs, gatherMs, send }: Attempt): Promise<void> {
    const { database, settings } = this.#parts;
    const outcome = await send(AbortSignal.any([this.#stop.signal, AbortSignal.timeout(timeoutMs)]));
    if (this.#stop.signal.aborted) return;
    // What came last has been tried least: with it what is older is tried again too.
    const tries = Math.min(...dispatch.deliveries.map((delivery) => delivery.attempt));
    const waitMs = Math.min(longestWaitMs, settings.retryMs * 2 ** Math.min(tries - 1, 30));
    const retryMs = waitMs * (0.5 + Math.random() / 2);
    const nextMailMs = outcome.delivered ? gatherMs : Math.min(gatherMs, retryMs);
    await settle(database.pool, dispatch, outcome, { retryMs, giveUpMs: settings.giveUpMs, nextMailMs });
  }
}

/** A try that is under way. */
interface Attempt {
  readonly dispatch: Dispatch;
  readonly timeoutMs: number;
  /** How long the next message to the same receiver waits after this one was taken. */
  readonly gatherMs: number;
  readonly send: (signal: AbortSignal) => Promise<TryOutcome>;
  readonly ended: () => void;
}

const lookMs = 1_000;

/** How much longer than a try may last its lease does. */
const leaseSlackMs = 5_000;

const longestWaitMs = 3_600_000;
