import type { Pool } from "pg";
import type { Logger } from "pino";
import type { Clock } from "../infra/clock.ts";
import type { Database } from "../infra/database/database.ts";

/** What {@link TokenUses} are made of. */
export interface TokenUsesParts {
  readonly database: Pick<Database, "adminPool">;
  readonly clock: Clock;
  readonly logger: Logger;
  /** How often uses are written; a minute unless given. */
  readonly flushIntervalMs?: number;
}

/**
 * Remembers when operators' tokens were last used and writes it about once a minute, all tokens in one statement: a call
 * only moves a number in memory. What was not written when the process dies is a minute lost.
 */
export class TokenUses {
  readonly #pool: Pool;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #waiting = new Map<string, Date>();
  readonly #timer: NodeJS.Timeout;

  constructor(parts: TokenUsesParts) {
    this.#pool = parts.database.adminPool;
    this.#clock = parts.clock;
    this.#logger = parts.logger;
    this.#timer = setInterval(() => void this.flush(), parts.flushIntervalMs ?? 60_000);
    this.#timer.unref();
  }

  /** Notes a use. */
  used(tokenId: string): void {
    if (this.#waiting.size < maxWaiting || this.#waiting.has(tokenId)) {
      this.#waiting.set(tokenId, this.#clock.now());
    }
  }

  /** Writes what waits; what cannot be written waits on. */
  async flush(): Promise<void> {
    const uses = [...this.#waiting];
    if (uses.length === 0) return;
    try {
      await this.#pool.query(writeUses, [uses.map(([id]) => id), uses.map(([, at]) => at)]);
      for (const [id, at] of uses) if (this.#waiting.get(id) === at) this.#waiting.delete(id);
    } catch (error) {
      this.#logger.debug({ err: error }, "the last uses of tokens wait for the database");
    }
  }

  /** Writes what waits, once, and stops. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.flush();
  }
}

/** More tokens than any fleet has operators; beyond it some last uses are not noted. */
const maxWaiting = 10_000;

const writeUses = `
  UPDATE operator_tokens AS token SET last_used_at = use.at
    FROM unnest($1::uuid[], $2::timestamptz[]) AS use (id, at)
   WHERE token.id = use.id AND (token.last_used_at IS NULL OR token.last_used_at < use.at)`;
