import type { Pool } from "pg";
import type { Logger } from "pino";
import type { Database } from "../infra/database/database.ts";
import { withRetry } from "../infra/database/errors.ts";

/** What a device says of its client when it opens a stream. */
export interface ClientFacts {
  readonly deviceId: string;
  readonly agentVersion: string;
  readonly capabilities: readonly string[];
  readonly clockQuality: string;
}

/** What {@link ClientFactsWriter} is made of. */
export interface ClientFactsWriterParts {
  readonly database: Pick<Database, "adminPool">;
  readonly logger: Logger;
  /** How often facts are written; a second unless given. */
  readonly flushIntervalMs?: number;
}

/**
 * Writes what devices say of their clients into their records, many at a time and only where it differs. What cannot be
 * written is dropped: the device says it again with its next stream.
 */
export class ClientFactsWriter implements AsyncDisposable {
  readonly #pool: Pool;
  readonly #logger: Logger;
  readonly #flushIntervalMs: number;
  #waiting = new Map<string, ClientFacts>();
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(parts: ClientFactsWriterParts) {
    this.#pool = parts.database.adminPool;
    this.#logger = parts.logger;
    this.#flushIntervalMs = parts.flushIntervalMs ?? 1_000;
  }

  /** Takes what a device said. */
  streamOpened(facts: ClientFacts): void {
    if (this.#closed || (this.#waiting.size >= maxWaiting && !this.#waiting.has(facts.deviceId))) return;
    this.#waiting.set(facts.deviceId, facts);
    this.#timer ??= setTimeout(() => void this.flush(), this.#flushIntervalMs).unref();
  }

  /** Writes what waits now. */
  async flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const batch = [...this.#waiting.values()].sort((a, b) => (a.deviceId < b.deviceId ? -1 : 1));
    this.#waiting = new Map();
    this.#writing = this.#writing.then(() => this.#write(batch));
    await this.#writing;
  }

  /** Writes what waits and takes no more. Idempotent. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    await this.flush();
  }

  async #write(facts: readonly ClientFacts[]): Promise<void> {
    try {
      for (let start = 0; start < facts.length; start += maxRowsPerStatement) {
        const batch = facts.slice(start, start + maxRowsPerStatement);
        const values = [
          batch.map(({ deviceId }) => deviceId),
          batch.map(({ agentVersion, capabilities, clockQuality }) =>
            JSON.stringify({ agentVersion, capabilities, clockQuality }),
          ),
        ];
        const write = { name: "device_write_facts", text: writeSql, values };
        await withRetry(() => this.#pool.query(write), { attempts: 3 });
      }
    } catch (error) {
      this.#logger.warn({ err: error }, "could not write what devices said of their clients");
    }
  }
}

/** As many devices as may come back at once after an outage. */
const maxWaiting = 100_000;

const maxRowsPerStatement = 1_000;

/** The rows are locked in the order of their ids, as everywhere. */
const writeSql = `
  UPDATE devices d SET reported = d.reported || l.facts
    FROM (SELECT d.id, f.facts
            FROM unnest($1::uuid[], $2::jsonb[]) AS f (id, facts)
            JOIN devices d ON d.id = f.id AND NOT d.reported @> f.facts
           ORDER BY d.id FOR UPDATE OF d) l
   WHERE d.id = l.id`;
