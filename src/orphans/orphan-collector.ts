import { Round } from "../infra/background/round.ts";
import type { Clock } from "../infra/clock.ts";
import type { Pool } from "../infra/database/pool.ts";
import type { Logger } from "../infra/logger.ts";
import type { ObjectStore } from "../infra/objects/object-store.ts";
import { findOrphans, isSuspicious, removeOrphans } from "./orphan-sweep.ts";

/** What an {@link OrphanCollector} is made of. */
export interface OrphanCollectorParts {
  readonly pool: Pool;
  readonly store: Pick<ObjectStore, "list" | "delete">;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly graceMs: number;
  /** Whether what is found is removed, or only counted. */
  readonly remove: boolean;
}

/**
 * Looks now and then for contents of the object store that nothing names, counts them, and removes them if it may. Every replica
 * does: what one has removed the others do not find.
 */
export class OrphanCollector {
  readonly round: Round;
  readonly #parts: OrphanCollectorParts;
  #orphans = 0;
  #bytes = 0;
  #strangers = 0;
  #removed = 0;

  constructor(parts: OrphanCollectorParts) {
    this.#parts = parts;
    const { clock, logger, graceMs } = parts;
    this.round = new Round({
      name: "orphans",
      everyMs: Math.min(graceMs, mostMs),
      clock,
      logger,
      work: (signal) => this.#sweep(signal),
    });
  }

  /** As of the last look. */
  get state(): {
    readonly orphans: number;
    readonly bytes: number;
    readonly strangers: number;
    readonly removed: number;
  } {
    return { orphans: this.#orphans, bytes: this.#bytes, strangers: this.#strangers, removed: this.#removed };
  }

  async #sweep(signal: AbortSignal): Promise<void> {
    const { pool, clock, logger, remove } = this.#parts;
    const database = { session: pool, transact: pool.transact.bind(pool) };
    const parts = { ...this.#parts, database, now: () => clock.now() };
    const count = await findOrphans(parts, signal);
    const { contents, orphans, strangers } = count;
    this.#orphans = orphans.length;
    this.#bytes = orphans.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    this.#strangers = strangers;
    if (!remove || orphans.length === 0) return;
    if (isSuspicious(count))
      return logger.warn(
        { contents, orphans: orphans.length },
        "most of the object store is named by nothing in the database, so nothing is removed: is it the right one?",
      );
    const removed = await removeOrphans(parts, orphans, signal);
    this.#removed += removed;
    this.#orphans -= removed;
    if (removed === orphans.length) this.#bytes = 0;
    logger.info({ removed }, "removed contents that nothing names");
  }
}

/** How often the store is looked through, at the least. */
const mostMs = 6 * 3_600_000;
