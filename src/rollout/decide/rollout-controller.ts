import type { Cause } from "../../call/cause.ts";
import { Round } from "../../infra/background/round.ts";
import type { Clock } from "../../infra/clock.ts";
import { asDatabaseError } from "../../infra/database/errors.ts";
import type { Session } from "../../infra/database/session.ts";
import { sql } from "../../infra/database/sql.ts";
import type { Logger } from "../../infra/logger.ts";
import type { RolloutHealthSource } from "../model/health-verdict.ts";
import { type HeardTime, heardRollout } from "../model/heard-time.ts";
import type { Ring, Rollout } from "../model/rollout.ts";
import { readRollouts } from "../model/rollout-rows.ts";
import {
  lockRollout,
  type RolloutTransaction,
  type RolloutTransactions,
} from "../model/rollout-transactions.ts";
import { type Decision, plan } from "./plan.ts";
import { continueRollback, finishRollback, rollBack } from "./rollback.ts";
import { noteStuck, noteUnreadable, setAlert } from "./rollout-alert.ts";
import { pause, promote } from "./rollout-verbs.ts";
import { type StartChecks, startOnTime } from "./scheduled-start.ts";

/** What a {@link RolloutController} is made of. */
export interface RolloutControllerParts {
  readonly pool: Session;
  readonly transactions: RolloutTransactions;
  readonly clock: Clock;
  /** What gates are judged by. */
  readonly hearing: HeardTime & { readonly isSettled: boolean };
  readonly logger: Logger;
  readonly health: RolloutHealthSource;
  readonly startChecks: StartChecks;
  /** What the alert of a rollout has to become for what of it can or cannot be read; undefined if it may stay. */
  readonly dueAlert: (rollout: Rollout) => string | undefined;
  /** Told of a rollback that a rule began. */
  readonly rolledBackByRule: () => void;
}

/**
 * Carries out what {@link plan} says: promotes, completes, pauses and rolls back. It looks at a rollout soon after its
 * counters changed, and at all that run about every second, for gates that hold by time. Every plan is made again in a
 * transaction that has the rollout locked, from counters that equal the rows; so several replicas may decide at the same
 * time, and the second one finds nothing left to do.
 */
export class RolloutController {
  readonly #parts: RolloutControllerParts;
  /** Looks at rollouts that changed, soon after they did. */
  readonly round: Round;
  readonly #dirty = new Set<string>();
  #lookedAtMs = Number.NEGATIVE_INFINITY;
  #running: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(parts: RolloutControllerParts) {
    this.#parts = parts;
    const { clock, logger } = parts;
    this.round = new Round({
      name: "rollout_decisions",
      work: () => {
        this.#lookedAtMs = performance.now();
        const ids = [...this.#dirty];
        this.#dirty.clear();
        return this.#enqueue({ ids });
      },
      clock,
      logger,
    });
  }

  /** A rollout's counters or state changed. */
  changed(rolloutId: string): void {
    if (this.#closed) return;
    this.#dirty.add(rolloutId);
    const restMs = this.#lookedAtMs + restAfterLookMs - performance.now();
    this.round.soon(Math.max(settleMs, restMs));
  }

  /** Looks at every rollout that a rule may move. */
  tick(): Promise<void> {
    return this.#enqueue({
      states: ["AWAITING_APPROVAL", "SCHEDULED", "RUNNING", "PAUSED", "ROLLING_BACK"],
      orPlanned: true,
    });
  }

  /** Waits for what is under way. May be called more than once. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.round.close();
    await this.#running;
  }

  #enqueue(selection: Parameters<typeof readRollouts>[1]): Promise<void> {
    this.#running = this.#running.then(async () => {
      if (this.#closed) return;
      try {
        const rollouts = await readRollouts(this.#parts.pool, selection);
        for (const rollout of rollouts) await this.#look(rollout);
      } catch (error) {
        if (asDatabaseError(error) === undefined)
          this.#parts.logger.error({ err: error }, "could not judge rollouts");
      }
    });
    return this.#running;
  }

  async #look(rollout: Rollout): Promise<void> {
    const { hearing, dueAlert } = this.#parts;
    const health = this.#parts.health.verdictOf(rollout.id);
    const planned = (as: Rollout, now: Date): Decision[] =>
      plan(heardRollout(as, hearing, now), { now, health, dueAlert: dueAlert(as) })
        // A clock that was set may be set right again: nothing begins by it at once.
        .filter(({ kind }) => kind !== "start" || hearing.isSettled);
    if (planned(rollout, hearing.now()).length === 0) return;
    try {
      await this.#parts.transactions.run(async (tx) => {
        const locked = await lockRollout(tx, rollout.id);
        for (const decision of planned(locked, tx.now)) await this.#act(tx, locked, decision);
      });
    } catch (error) {
      const level = asDatabaseError(error) === undefined ? "error" : "warn";
      this.#parts.logger[level]({ err: error, rolloutId: rollout.id }, "could not act on a rollout");
    }
  }

  async #act(tx: RolloutTransaction, rollout: Rollout, decision: Decision): Promise<void> {
    const { logger } = this.#parts;
    switch (decision.kind) {
      case "note_gate":
        await tx.run(heldSql, [decision.ring.id, decision.held ? tx.now.toISOString() : null]);
        tx.changed(rollout.id);
        return;
      case "promote": {
        const { reason } = decision;
        logger.info({ rolloutId: rollout.id, reason }, "promoted a rollout");
        await promote(tx, rollout, {
          actor: "system:gate",
          reason,
          details: numbersOf("gate", decision.ring),
        });
        return;
      }
      case "pause":
        logger.warn({ rolloutId: rollout.id, rule: decision.rule }, "paused a rollout by a rule");
        await pause(tx, rollout, causeOf(decision), decision.byHealth ? undefined : decision.ring);
        if (decision.byHealth) await acceptWorse(tx, rollout);
        return;
      case "rollback": {
        await rollBack(tx, rollout, causeOf(decision), { failed: decision.ring });
        this.#parts.rolledBackByRule();
        logger.warn({ rolloutId: rollout.id, rule: decision.rule }, "rolls a rollout back");
        return;
      }
      case "note_stuck":
        if (decision.alert !== "")
          logger.warn({ rolloutId: rollout.id, alert: decision.alert }, "a rollout is stuck");
        await noteStuck(tx, rollout, decision.alert);
        return;
      case "note_drift":
        await setAlert(tx, rollout.id, decision.alert);
        return;
      case "note_unreadable":
        logger.warn(
          { rolloutId: rollout.id, alert: decision.alert },
          "a rollout can be read no more, or again",
        );
        await noteUnreadable(tx, rollout, decision.alert);
        return;
      case "start": {
        const problem = await startOnTime(tx, rollout, this.#parts.startChecks);
        if (problem !== undefined)
          logger.warn({ rolloutId: rollout.id, problem }, "paused a rollout at its start time");
        return;
      }
      case "continue_rollback": {
        const { rollbackPlan } = rollout;
        if (rollbackPlan === undefined) return;
        const step = await continueRollback(tx, rollout, rollbackPlan);
        // Replicas learn of what was made by their polls; telling them of each step would have them read all of it each time.
        if (step === "more") this.changed(rollout.id);
        // Those that still wait are looked at again by the next tick.
        else if (step !== "waiting") tx.changed(rollout.id);
        return;
      }
      case "finish_rollback": {
        const { failed, total } = rollout.rollback;
        logger[failed > 0 ? "warn" : "info"](
          { rolloutId: rollout.id, total, failed },
          "rolled a rollout back",
        );
        await finishRollback(tx, rollout);
        return;
      }
    }
  }
}

function causeOf({ rule, ring, byHealth }: Extract<Decision, { readonly rule: string }>): Cause {
  return {
    actor: byHealth ? "system:health" : "system:failure-threshold",
    reason: rule,
    details: numbersOf(byHealth ? "on_worse_health" : "failure_threshold", ring),
  };
}

function numbersOf(rule: string, { name, counters }: Ring): Record<string, string> {
  const { succeeded, failed, inProgress, began, missing } = counters;
  return {
    rule,
    judged_ring: name,
    succeeded: String(succeeded),
    failed: String(failed),
    missing: String(missing),
    began: String(began),
    in_progress: String(inProgress),
  };
}

/** The verdict that paused the rollout never turns better: without this no operator could go on. */
async function acceptWorse(tx: RolloutTransaction, { id }: Rollout): Promise<void> {
  await tx.run(acceptSql, [id]);
}

const heldSql = sql`UPDATE deployment_rings SET gate_held_since = $2::timestamptz WHERE id = $1::uuid`;

const acceptSql = sql`
  UPDATE deployment_rings SET gate = gate || '{"acceptedWorse": true}'::jsonb WHERE rollout_id = $1::uuid`;

/** Counters of a burst of devices are looked at once. */
const settleMs = 20;

/** While devices go on to report, counters are not looked at more often than this: each look costs as much as an offer or two. */
const restAfterLookMs = 100;
