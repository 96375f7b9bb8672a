import type { Decision } from "../../src/rollout/decide/plan.ts";
import { unwellOf } from "../../src/rollout/model/gate-samples.ts";
import { nextRingState, type RingEvent } from "../../src/rollout/model/ring-state.ts";
import { frontRing, type Ring, type Rollout } from "../../src/rollout/model/rollout.ts";
import { nextRolloutState, type RolloutEvent } from "../../src/rollout/model/rollout-state.ts";
import { isStuckAlert } from "../../src/rollout/model/stuck-alert.ts";

/**
 * A rollout that is carried on in memory as the service carries it on in its database: by the same state machines, with the
 * same times and alerts. Its counters are whoever's that moves its devices.
 */
export class RolloutInMemory {
  #rollout: Rollout;

  /** @param draft as it is before the start */
  constructor(draft: Rollout) {
    this.#rollout = draft;
  }

  /** As it stands. */
  get value(): Rollout {
    return this.#rollout;
  }

  /** The ring of that name, or the front one. */
  ring(name = frontRing(this.#rollout.rings)?.name): Ring {
    const ring = this.#rollout.rings.find((each) => each.name === name);
    if (ring === undefined) throw new Error(`no ring ${name}`);
    return ring;
  }

  /** Opens the first ring, or waits for its time. */
  start(now: Date): void {
    const { startAt } = this.#rollout.policy;
    if (startAt !== null && new Date(startAt) > now) this.move("schedule");
    else this.#begin(now);
  }

  /** Goes on in spite of the failures so far. */
  resume(now: Date): void {
    for (const ring of this.#rollout.rings) {
      if (ring.state === "WAITING") continue;
      if (ring.state === "FAILED") this.moveRing(ring, "reopen", now);
      const { gate } = this.ring(ring.name);
      this.setRing(ring, { gate: { ...gate, acceptedFailures: unwellOf(ring.counters) } });
    }
    this.move("resume");
  }

  /** Passes a ring and opens the next one, or completes the rollout. */
  promote(ring: Ring, now: Date): void {
    this.moveRing(ring, "pass", now);
    const next = this.#rollout.rings[ring.position + 1];
    if (next === undefined) return this.move("complete");
    this.moveRing(next, "open", now);
    this.move("promote");
  }

  /** Carries out a decision of the planner. `tell` tells devices to go back, until nobody is left to be told. */
  act(decision: Decision, now: Date, tell: () => void): void {
    switch (decision.kind) {
      case "note_gate":
        return this.setRing(decision.ring, { gateHeldSince: decision.held ? now : undefined });
      case "promote":
        return this.promote(decision.ring, now);
      case "pause":
        if (decision.byHealth) {
          for (const ring of this.#rollout.rings)
            this.setRing(ring, { gate: { ...ring.gate, acceptedWorse: true } });
        } else if (decision.ring.state !== "FAILED") this.moveRing(decision.ring, "fail", now);
        this.move("pause");
        return this.set({ stateReason: decision.rule });
      case "rollback":
        if (decision.ring.state !== "FAILED") this.moveRing(decision.ring, "fail", now);
        this.move("rollback");
        return this.set({
          stateReason: decision.rule,
          rollbackPlan: { ringIds: null, firmwareId: null, cursor: null },
        });
      case "continue_rollback":
        tell();
        return this.set({ rollbackPlan: undefined });
      case "finish_rollback":
        return this.move("finish_rollback");
      case "start":
        return this.#begin(now);
      case "note_stuck":
      case "note_drift":
      case "note_unreadable":
        return this.set({ alert: decision.alert });
    }
  }

  /** Changes its own state. What kept it from going on does no more. */
  move(event: RolloutEvent): void {
    const { alert, revision } = this.#rollout;
    const state = nextRolloutState(this.#rollout.state, event);
    if (state === undefined) throw new Error(`a rollout that is ${this.#rollout.state} knows no ${event}`);
    this.set({ state, revision: revision + 1, alert: isStuckAlert(alert) ? "" : alert });
  }

  /** Changes a ring's state. Only one that passes keeps the time since which its gate holds. */
  moveRing(ring: Ring, event: RingEvent, now: Date): void {
    const state = nextRingState(ring.state, event);
    if (state === undefined) throw new Error(`ring ${ring.name} is ${ring.state}: no ${event}`);
    this.setRing(ring, {
      state,
      gateHeldSince: event === "pass" ? this.ring(ring.name).gateHeldSince : undefined,
      ...(event === "open" ? { openedAt: now } : {}),
    });
  }

  setRing({ id }: Ring, change: Partial<Ring>): void {
    this.set({
      rings: this.#rollout.rings.map((ring) => (ring.id === id ? { ...ring, ...change } : ring)),
    });
  }

  set(change: Partial<Rollout>): void {
    this.#rollout = { ...this.#rollout, ...change };
  }

  #begin(now: Date): void {
    this.move("start");
    const [first] = this.#rollout.rings;
    if (first !== undefined) this.moveRing(first, "open", now);
  }
}
