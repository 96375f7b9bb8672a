import { type Decision, decisionText } from "../../../src/rollout/decide/plan.ts";
import type { Ring, Rollout } from "../../../src/rollout/model/rollout.ts";
import { noCounts, type RingCounters, ringCounters } from "../../../src/rollout/model/rollout-counters.ts";
import type { Fate } from "./scenario.ts";
import type { UpdateRow, UpdateRows } from "./update-rows.ts";

/** What a rollout must never do. Thrown where it is seen. */
export class Violation extends Error {}

/**
 * Watches a rollout from outside, by what happened to its devices and not by what the service counts:
 *
 * - Counters equal the rows after every transaction, by each device's latest try.
 * - A device has one update at a time, is given no install again once it had one, and what is over stays over.
 * - No gate opens a ring while more than the threshold of those that began failed or are missing.
 * - A rollout that waits for nobody and for no time says so within minutes.
 * - No device fails that fares well.
 */
export class Oracle {
  readonly #rows: UpdateRows;
  readonly #fateOf: (deviceId: string) => Fate | undefined;
  readonly #counted = new Map<string, { readonly ringId: string; readonly counts: RingCounters }>();
  readonly #rings = new Map<string, RingCounters>();
  readonly #over = new Map<string, string>();
  /** Failed and missing devices in spite of which an operator opened a further ring, by ring. */
  readonly #accepted = new Map<string, number>();
  readonly #setBacks: number;
  /** For how long nothing has happened, of the time in which somebody looked. */
  #quietMs = 0;

  /** `setBacks`: how often the clock is set back. */
  constructor(rows: UpdateRows, fateOf: (deviceId: string) => Fate | undefined, setBacks: number) {
    this.#rows = rows;
    this.#fateOf = fateOf;
    this.#setBacks = setBacks;
  }

  /** After a transaction that wrote a device's updates. */
  wrote(deviceId: string): void {
    this.#quietMs = 0;
    const tries = this.#rows.of(deviceId);
    this.#expectOneAtATime(deviceId, tries);
    const last = tries.findLast(({ update }) => update.action !== "ROLLBACK");
    if (last === undefined) return;
    const before = this.#counted.get(deviceId);
    const after = { ringId: last.update.ringId, counts: countsOf(last) };
    this.#counted.set(deviceId, after);
    if (before !== undefined) this.#add(before, -1);
    this.#add(after, 1);
    const counters = this.#rows.counters(after.ringId);
    if (!isSame(counters, this.#rings.get(after.ringId))) {
      const wanted = JSON.stringify(this.#rings.get(after.ringId));
      throw new Violation(`counters are ${JSON.stringify(counters)}, the rows say ${wanted}`);
    }
    const failed = last.update.state === "FAILED" || last.update.state === "TIMED_OUT";
    if (failed && this.#fateOf(deviceId) === "well")
      throw new Violation(`device ${deviceId} fares well and is ${last.update.state}: ${last.failureReason}`);
  }

  /** Before an operator opens the next ring by hand. */
  promotedByHand({ rings }: Rollout): void {
    for (const { id, counters } of rings) this.#accepted.set(id, counters.failed + counters.missing);
  }

  /** Before a decision is carried out. */
  decides(decision: Decision, { rings, policy, state }: Rollout): void {
    this.#quietMs = 0;
    if (decision.kind !== "promote") return;
    if (state !== "RUNNING") throw new Violation(`${decisionText(decision)}, though it is ${state}`);
    for (const ring of rings) {
      const counted = this.#rings.get(ring.id);
      if (counted === undefined || ring.state === "WAITING") continue;
      const { began, failed, missing } = counted;
      const unwell = failed + missing;
      if (unwell <= Math.max(ring.gate.acceptedFailures ?? 0, this.#accepted.get(ring.id) ?? 0)) continue;
      // A ring that was passed is judged by what is more than chance.
      if (ring !== decision.ring && ring.name !== decision.ring.name && unwell < 2) continue;
      if ((unwell / began) * 100 > policy.failureThresholdPercent)
        throw new Violation(
          `${decisionText(decision)}, though in ring ${ring.name} ${unwell} of ${began} that began failed or are missing`,
        );
    }
  }

  /** After somebody looked at all that there is, for the first time in so many milliseconds. */
  watch(rollout: Rollout, front: Ring | undefined, sinceMs: number): void {
    const { state, alert } = rollout;
    const { inProgress, missing } = front?.counters ?? noCounts(ringCounters);
    // Who downloads or installs will be heard, or time out; and so will who is told to go back.
    const waits =
      (state === "RUNNING" && alert === "" && inProgress <= missing) ||
      (state === "ROLLING_BACK" && this.#openRows() === 0);
    this.#quietMs = waits ? this.#quietMs + sinceMs : 0;
    // Of a time that the clock showed twice the later one counts: each time that it is set back a gate may have to hold anew.
    const patienceMs = (1 + this.#setBacks) * (front?.gate.soakMs ?? 0) + 15 * 60_000;
    if (this.#quietMs <= patienceMs) return;
    const minutes = Math.round(this.#quietMs / 60_000);
    throw new Violation(`it is ${state} for ${minutes} min in which nothing happened, and says nothing`);
  }

  #openRows(): number {
    let open = 0;
    for (const { endedAtMs } of this.#rows.all()) if (endedAtMs === undefined) open += 1;
    return open;
  }

  #expectOneAtATime(deviceId: string, tries: readonly UpdateRow[]): void {
    const open = tries.filter(({ endedAtMs }) => endedAtMs === undefined);
    if (open.length > 1) throw new Violation(`device ${deviceId} has ${open.length} updates at a time`);
    const installs = tries.filter(({ update }) => update.action !== "ROLLBACK");
    for (const { update, retried } of installs.slice(0, -1)) {
      if (!retried)
        throw new Violation(`device ${deviceId} was given the update again after ${update.state}`);
    }
    for (const { update, endedAtMs } of tries) {
      const ended = this.#over.get(update.id);
      if (ended !== undefined && ended !== update.state)
        throw new Violation(`update ${update.id} was ${ended} and is ${update.state}`);
      if (endedAtMs !== undefined) this.#over.set(update.id, update.state);
    }
  }

  #add({ ringId, counts }: { readonly ringId: string; readonly counts: RingCounters }, sign: 1 | -1): void {
    const sum = this.#rings.get(ringId) ?? noCounts(ringCounters);
    const next: { -readonly [Name in keyof RingCounters]: number } = { ...sum };
    for (const name of counterNames) next[name] += sign * counts[name];
    this.#rings.set(ringId, next);
  }
}

function isSame(counters: RingCounters, wanted: RingCounters | undefined): boolean {
  return counterNames.every((name) => counters[name] === wanted?.[name]);
}

const counterNames = Object.keys(ringCounters) as (keyof RingCounters)[];

/** What a device counts as, by the table in the documentation: in its words, and by its latest try alone. */
function countsOf({ update, endedAtMs }: UpdateRow): RingCounters {
  const one = { ...noCounts(ringCounters), offered: 1 };
  if (endedAtMs === undefined) {
    const began = update.taken ? 1 : 0;
    return { ...one, inProgress: 1, began, missing: update.missingSinceMs === undefined ? 0 : 1 };
  }
  switch (update.state) {
    case "SUCCEEDED":
      return { ...one, succeeded: 1, began: 1 };
    case "FAILED":
    case "TIMED_OUT":
      return { ...one, failed: 1, began: 1 };
    case "ROLLED_BACK":
      return { ...one, rolledBack: 1 };
    default:
      return { ...one, cancelled: 1 };
  }
}
