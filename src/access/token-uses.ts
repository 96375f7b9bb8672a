import type { Logger } from "pino";
import { BatchWriter } from "../infra/background/batch-writer.ts";
import type { Clock } from "../infra/clock.ts";
import type { Database } from "../infra/database/database.ts";
import { isDataError } from "../infra/database/errors.ts";
import { sql } from "../infra/database/sql.ts";

/** What {@link TokenUses} are made of. */
export interface TokenUsesParts {
  readonly database: Pick<Database, "pool">;
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
  readonly writer: BatchWriter<TokenUse>;
  readonly #clock: Clock;

  constructor({ database, clock, logger, flushIntervalMs = 60_000 }: TokenUsesParts) {
    this.#clock = clock;
    this.writer = new BatchWriter<TokenUse>({
      name: "token_uses",
      keyOf: ({ tokenId }) => tokenId,
      write: async (uses) => {
        await database.pool.run(writeUsesSql, [uses.map(({ tokenId }) => tokenId), uses.map(({ at }) => at)]);
      },
      maxRows: maxWaiting,
      lingerMs: flushIntervalMs,
      maxWaiting,
      isBadRow: isDataError,
      onOutage: "keep",
      clock,
      logger,
    });
  }

  /** Notes a use. */
  used(tokenId: string): void {
    this.writer.add({ tokenId, at: this.#clock.now() });
  }

  /** Writes what waits; what cannot be written waits on. */
  flush(): Promise<void> {
    return this.writer.flush();
  }

  /** Writes what waits, once, and stops. */
  close(): Promise<void> {
    return this.writer.close();
  }
}

interface TokenUse {
  readonly tokenId: string;
  readonly at: Date;
}

/** More tokens than any fleet has operators; beyond it some last uses are not noted. */
const maxWaiting = 10_000;

const writeUsesSql = sql`
  UPDATE operator_tokens AS token SET last_used_at = use.at
    FROM unnest($1::uuid[], $2::timestamptz[]) AS use (id, at)
   WHERE token.id = use.id AND (token.last_used_at IS NULL OR token.last_used_at < use.at)`;
