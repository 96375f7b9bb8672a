import { randomUUID } from "node:crypto";
import pg from "pg";
import { Alarm } from "../alarm.ts";
import { BackOff } from "../back-off.ts";
import { Round } from "../background/round.ts";
import { systemClock } from "../clock.ts";
import type { Logger } from "../logger.ts";
import { connectionSettings, listeningRole } from "./connection-settings.ts";
import { sessionOn } from "./session.ts";
import { identifier, sql } from "./sql.ts";

/** What a channel's subscriber is told. Handlers must not throw and must not block. */
export interface ChannelHandler {
  /** A notification: ids only, at most a few kilobytes. Notifications of one's own replica come too. */
  notified(payload: string): void;
  /**
   * The channel is heard from now on: said once at first and again after every break, in which notifications were
   * lost. Read anew what the channel is about.
   */
  listening(): void;
}

/** What a {@link Listener} is made of. */
export interface ListenerParts {
  readonly url: string;
  readonly logger: Logger;
  /** How often it makes sure that it still hears, and how long it waits for what it should hear, in milliseconds. */
  readonly checkEveryMs: number;
}

/**
 * One connection that listens. When it is lost it connects again by itself, with growing pauses, for as long as it
 * takes; nothing that it does ever throws. Notifications only make things faster: whoever listens also polls.
 *
 * It asks for nothing, so a machine that goes without a word would leave it deaf for as long as TCP is patient, and a pooler
 * that gives its session to others for ever. So it notifies itself now and then, and what it does not hear in time counts
 * as a lost connection.
 */
export class Listener {
  /** Makes sure that it hears. */
  readonly round: Round;
  readonly #url: string;
  readonly #logger: Logger;
  readonly #checkEveryMs: number;
  /** What it notifies itself on. */
  readonly #ownChannel = `listener_${randomUUID()}`;
  /** What it last heard there. */
  #heard = "";
  readonly #subscriptions = new Set<Subscription>();
  /** The connection in use; undefined while there is none, or none yet. */
  #client: pg.Client | undefined;
  #connecting: Promise<void> | undefined;
  readonly #backOff = new BackOff({ baseMs: 100, capMs: 10_000 });
  /** Ends the wait before the next try, while there is one. */
  #retry: AbortController | undefined;
  /** Ends when every LISTEN so far has its answer: a client takes one query at a time. */
  #hearing = Promise.resolve();
  #closed = false;

  constructor({ url, logger, checkEveryMs }: ListenerParts) {
    this.#url = url;
    this.#logger = logger;
    this.#checkEveryMs = checkEveryMs;
    this.#subscriptions.add({
      channel: this.#ownChannel,
      handler: {
        notified: (payload) => {
          this.#heard = payload;
        },
        listening: () => undefined,
      },
      client: undefined,
    });
    this.round = new Round({
      name: "listener",
      everyMs: checkEveryMs,
      work: () => this.#check(),
      clock: systemClock,
      logger,
    });
    this.round.start();
  }

  /** Subscribes; returns how to stop. */
  listen(channel: string, handler: ChannelHandler): () => void {
    const subscription: Subscription = { channel, handler, client: undefined };
    this.#subscriptions.add(subscription);
    if (this.#client !== undefined) void this.#hear(this.#client, channel);
    else this.#connect();
    return () => {
      this.#subscriptions.delete(subscription);
    };
  }

  /** Stops listening. May be called more than once. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#subscriptions.clear();
    this.#retry?.abort();
    await this.#connecting;
    await this.round.close();
    const client = this.#client;
    this.#client = undefined;
    await client?.end().catch(() => undefined);
  }

  #connect(): void {
    // A connection that is being tried hears of all subscriptions, and one that was lost has its retry.
    if (this.#closed || this.#connecting !== undefined || this.#retry !== undefined) return;
    this.#connecting = this.#open().finally(() => {
      this.#connecting = undefined;
    });
  }

  async #open(): Promise<void> {
    const client = new pg.Client(connectionSettings(this.#url, listeningRole));
    let lost = false;
    const onLoss = (error?: unknown): void => {
      // A dying connection says so several times.
      if (lost) return;
      lost = true;
      this.#lost(client, error);
    };
    // Without a handler a connection that dies would end the process.
    client.on("error", onLoss);
    client.on("end", onLoss);
    client.on("notification", ({ channel, payload }) => {
      for (const subscription of this.#subscriptions) {
        if (subscription.channel === channel) subscription.handler.notified(payload ?? "");
      }
    });
    try {
      await client.connect();
    } catch (error) {
      onLoss(error);
    }
    if (lost) return;
    this.#client = client;
    // What the connection before it still waits for must not hold this one up.
    this.#hearing = Promise.resolve();
    for (const { channel } of this.#subscriptions) await this.#hear(client, channel);
  }

  #hear(client: pg.Client, channel: string): Promise<void> {
    this.#hearing = this.#hearing.then(() => this.#subscribe(client, channel));
    return this.#hearing;
  }

  async #subscribe(client: pg.Client, channel: string): Promise<void> {
    try {
      // Repeating it changes nothing.
      await sessionOn(client).run(sql`LISTEN ${identifier(channel)}`);
    } catch (error) {
      // A lost connection has told so itself; a server that only refuses must not be mistaken for one that listens.
      client.emit("error", error instanceof Error ? error : new Error(String(error)));
      return;
    }
    if (this.#client !== client) return;
    this.#backOff.reset();
    for (const subscription of this.#subscriptions) {
      if (subscription.channel !== channel || subscription.client === client) continue;
      subscription.client = client;
      subscription.handler.listening();
    }
  }

  /** A connection that is lost already comes back by itself. */
  async #check(): Promise<void> {
    const client = this.#client;
    if (client === undefined) return;
    this.#hearing = this.#hearing.then(() => this.#hearOneself(client));
    await this.#hearing;
  }

  async #hearOneself(client: pg.Client): Promise<void> {
    if (this.#client !== client) return;
    const said = randomUUID();
    try {
      // A session hears itself before it has the answer to what it said.
      await sessionOn(client, this.#checkEveryMs).run(notifySql, [this.#ownChannel, said]);
      if (this.#heard !== said) throw new Error("the connection does not hear what it listens to");
    } catch (error) {
      client.emit("error", error instanceof Error ? error : new Error(String(error)));
    }
  }

  #lost(client: pg.Client, error: unknown): void {
    if (this.#client === client) this.#client = undefined;
    // Its goodbye may never be answered; nobody waits for it.
    client.end().catch(() => undefined);
    if (this.#closed) return;
    const pauseMs = this.#backOff.next();
    this.#logger.warn({ err: error, pauseMs: Math.round(pauseMs) }, "lost the listening connection");
    this.#retry = new AbortController();
    void new Alarm().wait(pauseMs, this.#retry.signal).then(() => {
      this.#retry = undefined;
      this.#connect();
    });
  }
}

const notifySql = sql`SELECT pg_notify($1, $2)`;

interface Subscription {
  readonly channel: string;
  readonly handler: ChannelHandler;
  /** The connection on which the handler was told that it listens. */
  client: pg.Client | undefined;
}
