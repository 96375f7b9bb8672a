import type { Logger } from "pino";
import { BatchWriter } from "../../infra/background/batch-writer.ts";
import type { Clock } from "../../infra/clock.ts";
import type { Database } from "../../infra/database/database.ts";
import { isDataError, withRetry } from "../../infra/database/errors.ts";
import { prepared, sql } from "../../infra/database/sql.ts";
import type { ReportedFacts } from "./device.entity.ts";
import type { DeviceChanges } from "./device-changes.ts";

/** What a device says of its client when it opens a stream. */
export interface ClientFacts {
  readonly deviceId: string;
  readonly agentVersion: string;
  readonly capabilities: readonly string[];
  readonly clockQuality: string;
  /** How often the device sends a heartbeat by itself; undefined: as often as it is asked to. */
  readonly heartbeatIntervalMs: number | undefined;
}

/** What {@link ClientFactsWriter} is made of. */
export interface ClientFactsWriterParts {
  readonly database: Pick<Database, "pool">;
  readonly changes: Pick<DeviceChanges, "publishUpdates">;
  readonly clock: Clock;
  readonly logger: Logger;
  /** How often facts are written; a second unless given. */
  readonly flushIntervalMs?: number;
}

/**
 * Writes what devices say of their clients into their records, many at a time and only where it differs, and announces
 * whose interval is another one now. What cannot be written is dropped: the device says it again with its next stream.
 */
export class ClientFactsWriter implements AsyncDisposable {
  readonly #database: ClientFactsWriterParts["database"];
  readonly #changes: ClientFactsWriterParts["changes"];
  readonly writer: BatchWriter<ClientFacts>;

  constructor({ database, changes, clock, logger, flushIntervalMs = 1_000 }: ClientFactsWriterParts) {
    this.#database = database;
    this.#changes = changes;
    this.writer = new BatchWriter({
      name: "client_facts",
      keyOf: ({ deviceId }) => deviceId,
      write: (batch) => this.#write(batch),
      maxRows: maxRowsPerStatement,
      lingerMs: flushIntervalMs,
      maxWaiting,
      isBadRow: isDataError,
      onOutage: "drop",
      clock,
      logger,
    });
  }

  /** Takes what a device said. */
  streamOpened(facts: ClientFacts): void {
    this.writer.add(facts);
  }

  /** Writes what waits now. */
  flush(): Promise<void> {
    return this.writer.flush();
  }

  /** Writes what waits and takes no more. Idempotent. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.writer.close();
  }

  async #write(batch: readonly ClientFacts[]): Promise<void> {
    const values = [
      batch.map(({ deviceId }) => deviceId),
      batch.map(({ agentVersion, capabilities, clockQuality, heartbeatIntervalMs: intervalMs }) =>
        JSON.stringify({ agentVersion, capabilities, clockQuality, intervalMs } satisfies ReportedFacts),
      ),
    ];
    const query = () => this.#database.pool.query<WrittenRow>(writeSql, values);
    const written = await withRetry(query, { attempts: 3 });
    this.#changes.publishUpdates(written.filter((row) => row.is_interval_new).map(({ id }) => id));
  }
}

const maxRowsPerStatement = 1_000;

/** As many devices as may come back at once after an outage. */
const maxWaiting = 100_000;

interface WrittenRow {
  readonly id: string;
  readonly is_interval_new: boolean;
}

/** The rows are locked in the order of their ids, as everywhere. An interval that is said no more holds no more. */
const writeSql = prepared(
  "device_write_facts",
  sql`
  UPDATE devices d SET reported = (d.reported - 'intervalMs') || l.facts
    FROM (SELECT d.id, f.facts, d.reported->'intervalMs' AS interval_before
            FROM unnest($1::uuid[], $2::jsonb[]) AS f (id, facts)
            JOIN devices d ON d.id = f.id
              AND (NOT d.reported @> f.facts OR (d.reported ? 'intervalMs' AND NOT f.facts ? 'intervalMs'))
           ORDER BY d.id FOR UPDATE OF d) l
   WHERE d.id = l.id
  RETURNING d.id, l.interval_before IS DISTINCT FROM l.facts->'intervalMs' AS is_interval_new`,
);
