import { randomUUID } from "node:crypto";
import type { Clock } from "../infra/clock.ts";
import type { Database } from "../infra/database/database.ts";
import { sql } from "../infra/database/sql.ts";
import type { AlertSeverity } from "./alert.entity.ts";

/** Something that a replica looks at beside the database: of itself, or of what it needs. */
export interface ReplicaCheck {
  /** The rule of its alert: replicas that see the same raise one. */
  readonly rule: string;
  readonly severity: AlertSeverity;
  /** What is wrong, in words; undefined if nothing is. What it throws is wrong too. */
  readonly look: (signal: AbortSignal) => Promise<string | undefined> | string | undefined;
}

/**
 * Puts down what a replica sees for the watch over alerts, whichever replica that is on. What it sees counts for half a minute, so
 * that a replica that is gone leaves nothing firing. While the database is away nothing can be put down: it is told afterwards.
 */
export class ReplicaSignals {
  readonly #parts: {
    readonly database: Pick<Database, "pool">;
    readonly checks: readonly ReplicaCheck[];
    readonly clock: Clock;
  };
  readonly #replica = randomUUID();
  /** When the database was found away; undefined while it answers. By the machine's own clock. */
  #awaySinceMs: number | undefined;
  /** What is told of the last time, and until when. */
  #told: { readonly summary: string; readonly untilMs: number } | undefined;

  constructor(parts: {
    readonly database: Pick<Database, "pool">;
    readonly checks: readonly ReplicaCheck[];
    readonly clock: Clock;
  }) {
    this.#parts = parts;
  }

  /** Looks, and puts down what is wrong. Throws if the database is away. */
  async look(signal: AbortSignal): Promise<void> {
    const found = await Promise.all(this.#parts.checks.map((check) => lookAt(check, signal)));
    const rows = found.filter((row) => row !== undefined);
    try {
      await this.#parts.database.pool.transact(async (session) => {
        await session.run(clearSql, [this.#replica]);
        this.#backAgain();
        if (this.#told !== undefined)
          rows.push({ rule: "database.down", severity: "CRITICAL", summary: this.#told.summary });
        if (rows.length > 0) await session.run(putSql, [this.#replica, JSON.stringify(rows)]);
      });
    } catch (error) {
      this.#awaySinceMs ??= this.#parts.clock.monotonicMs();
      throw error;
    }
  }

  #backAgain(): void {
    const nowMs = this.#parts.clock.monotonicMs();
    if (this.#told !== undefined && this.#told.untilMs <= nowMs) this.#told = undefined;
    if (this.#awaySinceMs === undefined) return;
    const awayMs = nowMs - this.#awaySinceMs;
    this.#awaySinceMs = undefined;
    if (awayMs < shortestToldMs) return;
    const until = this.#parts.clock.now().toISOString().slice(0, 19);
    const summary = `the database did not answer for ${Math.round(awayMs / 1_000)} s, until ${until} UTC`;
    this.#told = { summary, untilMs: nowMs + toldMs };
  }
}

interface Signal {
  readonly rule: string;
  readonly severity: AlertSeverity;
  readonly summary: string;
}

async function lookAt(
  { rule, severity, look }: ReplicaCheck,
  signal: AbortSignal,
): Promise<Signal | undefined> {
  try {
    const summary = await look(AbortSignal.any([signal, AbortSignal.timeout(checkMs)]));
    return summary === undefined ? undefined : { rule, severity, summary };
  } catch (error) {
    const words = error instanceof Error ? error.message : String(error);
    return { rule, severity, summary: words.slice(0, maxSummary) };
  }
}

/** How long a check may take. */
const checkMs = 5_000;

const maxSummary = 500;

/** A database that was away for less needs nobody. */
const shortestToldMs = 1_000;

/** For how long it is told that the database was away. */
const toldMs = 10 * 60_000;

/** What this replica saw before, and what those left behind that are gone. */
const clearSql = sql`
  DELETE FROM alert_signals WHERE replica = $1::uuid OR expires_at < now() - interval '1 hour'`;

const putSql = sql`
  INSERT INTO alert_signals (replica, rule, severity, summary, expires_at)
  SELECT $1::uuid, rule, severity, summary, now() + interval '30 seconds'
    FROM jsonb_to_recordset($2::jsonb) AS s (rule text, severity text, summary text)`;
