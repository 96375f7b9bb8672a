import { Round } from "../infra/background/round.ts";
import type { Clock } from "../infra/clock.ts";
import type { Database } from "../infra/database/database.ts";
import { sql } from "../infra/database/sql.ts";
import type { Logger } from "../infra/logger.ts";

/** What {@link EndedSessions} are made of. */
export interface EndedSessionsParts {
  readonly database: Pick<Database, "pool" | "listen" | "notify">;
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * Sessions of the console that somebody signed out of. A session itself is stored nowhere: it is good until its time is over,
 * unless it is among these. Every replica has them in memory and hears of a new one at once; in case it did not, it reads them
 * now and then.
 */
export class EndedSessions {
  /** Reads them, and removes those whose time is over. */
  readonly round: Round;
  readonly #database: EndedSessionsParts["database"];
  readonly #clock: Clock;
  readonly #stopListening: () => void;
  readonly #listeners: (() => void)[] = [];
  #ended = new Set<string>();
  /** Those that were heard of since the last read began. */
  #heard = new Set<string>();

  constructor({ database, clock, logger }: EndedSessionsParts) {
    this.#database = database;
    this.#clock = clock;
    this.round = new Round({
      name: "ended_sessions",
      everyMs: readEveryMs,
      work: () => this.#read(),
      clock,
      logger,
    });
    this.#stopListening = database.listen(channel, {
      notified: (id) => this.#add(id),
      listening: () => this.round.soon(0),
    });
  }

  /** Reads them for the first time, and goes on by itself. */
  async start(): Promise<void> {
    await this.round.run();
    this.round.start();
  }

  /** Whether a session was ended. */
  has(id: string): boolean {
    return this.#ended.has(id);
  }

  /** Ends a session, on every replica. It would have ended by itself at `expiresAt`. */
  async end(id: string, expiresAt: Date): Promise<void> {
    await this.#database.pool.run(endSql, [id, expiresAt]);
    this.#add(id);
    this.#database.notify(channel, id);
  }

  /** Tells the listener whenever a session was ended, on whichever replica. */
  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  /** Stops reading and listening. */
  async close(): Promise<void> {
    this.#stopListening();
    await this.round.close();
  }

  #add(id: string): void {
    this.#ended.add(id);
    this.#heard.add(id);
    for (const listener of this.#listeners) listener();
  }

  async #read(): Promise<void> {
    const heard = new Set<string>();
    this.#heard = heard;
    await this.#database.pool.run(removeSql, [this.#clock.now()]);
    const rows = await this.#database.pool.query<{ id: string }>(readSql);
    this.#ended = new Set([...rows.map(({ id }) => id), ...heard]);
    for (const listener of this.#listeners) listener();
  }
}

const channel = "session_ended";

const readEveryMs = 30_000;

const endSql = sql`INSERT INTO ended_sessions (id, expires_at) VALUES ($1::uuid, $2) ON CONFLICT DO NOTHING`;

/** An hour later, for replicas whose clocks are slow. */
const removeSql = sql`DELETE FROM ended_sessions WHERE expires_at < $1::timestamptz - interval '1 hour'`;

const readSql = sql`SELECT id FROM ended_sessions`;
