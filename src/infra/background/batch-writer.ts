import type { Clock } from "../clock.ts";
import type { Logger } from "../logger.ts";
import { Round } from "./round.ts";
import { type BackgroundWork, RowCounts, type WorkLog } from "./work-log.ts";

/** What a {@link BatchWriter} writes, and how. */
export interface BatchWriterOptions<Row> {
  /** Short and fixed, for example `device_states`: it labels metrics. */
  readonly name: string;
  /** Rows with the same key are one: the newer takes the place of one that waits. */
  readonly keyOf: (row: Row) => string;
  /** What waits of two rows with the same key; the newer unless given. */
  readonly merge?: (newer: Row, older: Row) => Row;
  /**
   * Writes rows with different keys, in the order of their keys: two replicas that write the same rows then wait for each
   * other, but never in a circle. All or nothing.
   */
  readonly write: (rows: readonly Row[]) => Promise<void>;
  /** The most rows of one write. */
  readonly maxRows: number;
  /** How long the first row waits for company, in milliseconds. */
  readonly lingerMs: number;
  /** The most rows that wait; what comes on top is dropped. */
  readonly maxWaiting: number;
  /** Whether a write failed for what is in a row, and not for the state of the database. */
  readonly isBadRow: (error: unknown) => boolean;
  /** Rows that could not be written for another reason wait for the next try, or are dropped: their senders send them again. */
  readonly onOutage: "keep" | "drop";
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * Gathers rows and writes many at a time. A batch that holds a bad row is halved until that row stands alone, and only that
 * is dropped, counted and logged: no device can spoil its neighbours' rows.
 */
export class BatchWriter<Row> implements BackgroundWork {
  readonly #options: BatchWriterOptions<Row>;
  readonly #round: Round;
  readonly #rows = new RowCounts(() => this.size);
  #waiting = new Map<string, Row>();
  /** What is being written now. */
  #writing = new Map<string, Row>();
  #closing: Promise<void> | undefined;

  constructor(options: BatchWriterOptions<Row>) {
    this.#options = options;
    const { name, clock, logger } = options;
    this.#round = new Round({ name, work: () => this.#write(), clock, logger }, this.#rows);
  }

  get log(): WorkLog {
    return this.#round.log;
  }

  /** How many rows wait or are being written. */
  get size(): number {
    return this.#waiting.size + this.#writing.size;
  }

  /** Takes a row to be written. */
  add(row: Row): void {
    const { keyOf, lingerMs, maxWaiting, merge } = this.#options;
    const key = keyOf(row);
    const waiting = this.#waiting.get(key);
    if (this.#closing !== undefined || (waiting === undefined && this.#waiting.size >= maxWaiting)) {
      this.#rows.lost++;
      return;
    }
    this.#waiting.set(key, waiting === undefined || merge === undefined ? row : merge(row, waiting));
    if (this.#waiting.size === 1) this.#round.soon(lingerMs);
  }

  /** The row with this key that the database may not have yet. */
  unwritten(key: string): Row | undefined {
    return this.#waiting.get(key) ?? this.#writing.get(key);
  }

  /** Writes what waits now. Never rejects: see {@link BatchWriterOptions.onOutage}. */
  async flush(): Promise<void> {
    // What waits now may have come after the write that is under way had begun.
    await this.#round.idle();
    if (this.#waiting.size > 0) await this.#round.run();
  }

  /** Writes what waits, once, and takes no more. May be called more than once. */
  close(): Promise<void> {
    this.#closing ??= this.flush().then(() => this.#round.close());
    return this.#closing;
  }

  async #write(): Promise<void> {
    const { lingerMs, maxRows, onOutage } = this.#options;
    this.#writing = this.#waiting;
    this.#waiting = new Map();
    const rows = [...this.#writing].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, row]) => row);
    try {
      for (let start = 0; start < rows.length; start += maxRows) {
        await this.#writeBatch(rows.slice(start, start + maxRows));
      }
    } catch (error) {
      if (onOutage === "keep") this.#putBack();
      else this.#rows.lost += this.#writing.size;
      throw error;
    } finally {
      this.#writing = new Map();
      if (this.#waiting.size > 0) this.#round.soon(lingerMs);
    }
  }

  async #writeBatch(rows: readonly Row[]): Promise<void> {
    const { isBadRow, keyOf, logger, name, write } = this.#options;
    try {
      await write(rows);
      this.#rows.written += rows.length;
    } catch (error) {
      if (!isBadRow(error)) throw error;
      const [row] = rows;
      if (rows.length > 1 || row === undefined) {
        const middle = rows.length >> 1;
        await this.#writeBatch(rows.slice(0, middle));
        await this.#writeBatch(rows.slice(middle));
        return;
      }
      this.#rows.refused++;
      logger.error({ err: error, work: name, key: keyOf(row) }, "dropped a row that cannot be stored");
    }
    for (const row of rows) this.#writing.delete(keyOf(row));
  }

  #putBack(): void {
    const { merge } = this.#options;
    for (const [key, row] of this.#writing) {
      const newer = this.#waiting.get(key);
      if (newer === undefined) this.#waiting.set(key, row);
      else if (merge !== undefined) this.#waiting.set(key, merge(newer, row));
    }
  }
}
