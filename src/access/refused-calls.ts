import { v7 as uuidv7 } from "uuid";
import { BatchWriter } from "../infra/background/batch-writer.ts";
import type { Clock } from "../infra/clock.ts";
import type { Database } from "../infra/database/database.ts";
import { isDataError } from "../infra/database/errors.ts";
import { sql } from "../infra/database/sql.ts";
import type { Logger } from "../infra/logger.ts";

/** A call that its caller was not allowed to make. */
export interface RefusedCall {
  /** As the audit log names callers; `anonymous` if nobody knows. */
  readonly actor: string;
  readonly address: string;
  readonly requestId: string;
  /** For example `ota.v1.AccessService/CreateToken`. */
  readonly method: string;
  /** The reason of the answer, for example `ROLE_REQUIRED`, and its words. */
  readonly reason: string;
  readonly words: string;
  /** How many calls before it were refused and not recorded, because there were too many. */
  readonly omitted: number;
}

/** What {@link RefusedCalls} are made of. */
export interface RefusedCallsParts {
  readonly database: Pick<Database, "pool">;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Puts refused calls on record, many in one statement. How many there may be is for the pipeline to say. */
export class RefusedCalls {
  readonly writer: BatchWriter<Row>;
  readonly #clock: Clock;

  constructor({ database, clock, logger }: RefusedCallsParts) {
    this.#clock = clock;
    this.writer = new BatchWriter<Row>({
      name: "refused_calls",
      keyOf: ({ id }) => id,
      write: async (rows) => {
        await database.pool.run(insertSql, [JSON.stringify(rows)]);
      },
      maxRows: maxWaiting,
      lingerMs: 500,
      maxWaiting,
      isBadRow: isDataError,
      onOutage: "keep",
      clock,
      logger,
    });
  }

  /** Notes a call; it is written soon. */
  note({ actor, address, requestId, method, reason, words, omitted }: RefusedCall): void {
    this.writer.add({
      id: uuidv7(),
      occurred_at: this.#clock.now().toISOString(),
      actor,
      resource_id: method,
      // What PostgreSQL cannot store would lose the record.
      reason: words.toWellFormed().replaceAll("\0", ""),
      details: { reason, ...(omitted === 0 ? {} : { not_recorded: String(omitted) }) },
      address,
      request_id: requestId,
    });
  }

  /** Writes what waits, once, and stops. */
  close(): Promise<void> {
    return this.writer.close();
  }
}

/** A row of audit_events. */
interface Row {
  readonly id: string;
  readonly occurred_at: string;
  readonly actor: string;
  readonly resource_id: string;
  readonly reason: string;
  readonly details: Readonly<Record<string, string>>;
  readonly address: string;
  readonly request_id: string;
}

/** More than the limits let through in a minute's outage. */
const maxWaiting = 1_000;

const insertSql = sql`
  INSERT INTO audit_events (id, occurred_at, actor, action, resource_type, resource_id, reason, details, address, request_id)
  SELECT id, occurred_at, actor, 'call.refuse', 'method', resource_id, reason, details, address, request_id
    FROM jsonb_to_recordset($1::jsonb) AS row (id uuid, occurred_at timestamptz, actor text, resource_id text, reason text,
      details jsonb, address text, request_id text)
   ORDER BY id`;
