import type { Decision } from "../../../src/rollout/decide/plan.ts";
import { isTaken, nextUpdateState } from "../../../src/rollout/model/device-update-state.ts";
import type { OpenUpdate } from "../../../src/rollout/model/open-update.ts";
import { isReached } from "../../../src/rollout/model/ring-state.ts";
import type { RingCensusCounts, Rollout } from "../../../src/rollout/model/rollout.ts";
import { isActive, makesOffers } from "../../../src/rollout/model/rollout-state.ts";
import type { OfferOutcome } from "../../../src/rollout/proof/transition-offers.ts";
import type { UpdateChange } from "../../../src/rollout/proof/transition-sql.ts";
import { RolloutInMemory } from "../rollout-in-memory.ts";
import { type UpdateRow, UpdateRows } from "./update-rows.ts";

/** What a {@link RolloutStore} tells of. */
export interface StoreWatcher {
  /** A transaction wrote a device's updates. */
  wrote(deviceId: string): void;
  /** A replica carries out a decision on the rollout as it has it locked. */
  decides(decision: Decision, locked: Rollout): void;
}

/**
 * The database that the replicas share, in memory: a rollout with its rings, rows of updates and what devices showed last.
 * Each method is a transaction that has the rollout locked, and writes what the service's statements write.
 */
export class RolloutStore {
  readonly rows = new UpdateRows();
  /** When devices were last heard, by the clock of the replica that heard them. */
  readonly lastSeen = new Map<string, number>();
  /** The boot in which each device is. */
  readonly bootIds = new Map<string, string>();
  readonly retired = new Set<string>();
  /** Devices whose updates changed, in that order: what replicas read since they last did. */
  readonly log: string[] = [];
  readonly #rollout: RolloutInMemory;
  readonly #baseMissing: boolean;
  readonly #watcher: StoreWatcher;
  readonly #newId: () => string;
  /** The rollout as it was last read, until something changes. */
  #read: Rollout | undefined;

  constructor(
    draft: Rollout,
    {
      baseMissing,
      watcher,
      newId,
    }: { readonly baseMissing: boolean; readonly watcher: StoreWatcher; readonly newId: () => string },
  ) {
    this.#rollout = new RolloutInMemory(draft);
    this.#baseMissing = baseMissing;
    this.#watcher = watcher;
    this.#newId = newId;
  }

  /** The rollout with its counters. */
  read(): Rollout {
    const { value } = this.#rollout;
    this.#read ??= {
      ...value,
      rings: value.rings.map((ring) => ({
        ...ring,
        counters: this.rows.counters(ring.id),
        keys: this.rows.keys(ring.id),
      })),
      rollback: { ...this.rows.rollback(), waiting: 0 },
    };
    return this.#read;
  }

  start(now: Date): void {
    this.#rollout.start(now);
    this.#read = undefined;
  }

  /** Makes an offer, if the rollout wants that and the device is free. */
  offer(update: OpenUpdate, key: string): OfferOutcome {
    const rollout = this.read();
    const ring = rollout.rings.find(({ id }) => id === update.ringId);
    if (!makesOffers(rollout.state)) return "not_open";
    const inProgress = rollout.rings.reduce((sum, { counters }) => sum + counters.inProgress, 0);
    if (inProgress >= (rollout.policy.maxInProgress ?? Number.POSITIVE_INFINITY)) return "too_many";
    const { deviceId } = update;
    if (this.rows.open(deviceId) !== undefined) return "open";
    if (this.rows.of(deviceId).length > 0) return "tried";
    if (ring === undefined || !isReached(ring.state) || this.retired.has(deviceId)) return "not_open";
    this.rows.add({ update, key, failureReason: "", endedAtMs: undefined, retried: false });
    this.#wrote(deviceId);
    return "offered";
  }

  /** Changes an update that is in the state that the change names. */
  apply(change: UpdateChange): "applied" | "stale" {
    const { deviceId, id } = change.key;
    const row = this.rows.open(deviceId);
    if (row === undefined || row.update.id !== id || row.update.state !== change.from) return "stale";
    const { state } = this.#rollout.value;
    const wanted = change.nextTry?.rollback === true && state === "ROLLING_BACK";
    const nextTry = isActive(state) || wanted ? change.nextTry : undefined;
    this.rows.write(row, (each) => {
      each.retried = nextTry !== undefined;
      write(each, change);
    });
    if (nextTry !== undefined) {
      const { update, key } = row;
      const next: OpenUpdate = {
        ...fresh(update),
        id: nextTry.id,
        attempt: update.attempt + 1,
        fromBootId: nextTry.fromBootId,
        offeredAtMs: nextTry.madeAt.getTime(),
        notBeforeMs: nextTry.notBefore.getTime(),
        deadlineAtMs: nextTry.deadlineAt.getTime(),
      };
      this.rows.add({ update: next, key, failureReason: "", endedAtMs: undefined, retried: false });
    }
    this.#wrote(deviceId);
    return "applied";
  }

  /** Carries out what was planned for the rollout as it is now. */
  act(decision: Decision, locked: Rollout, now: Date): void {
    this.#watcher.decides(decision, locked);
    this.#rollout.act(decision, now, () => this.#tell(now));
    this.#read = undefined;
  }

  /** Notes how many devices the rings hold. */
  count(counts: readonly RingCensusCounts[], now: Date): void {
    for (const [at, ring] of this.#rollout.value.rings.entries()) {
      const count = counts[at];
      if (count !== undefined) this.#rollout.setRing(ring, { census: { ...count, countedAt: now } });
    }
    this.#read = undefined;
  }

  /** Makes the first ring reach further. */
  widen(percentBasisPoints: number): void {
    for (const ring of this.#rollout.value.rings) {
      this.#rollout.setRing(ring, {
        percentBasisPoints: Math.max(ring.percentBasisPoints, percentBasisPoints),
        census: undefined,
      });
    }
    this.#rollout.set({ revision: this.#rollout.value.revision + 1 });
    this.#read = undefined;
  }

  /** What an operator does by hand. */
  operate(verb: "resume" | "promote" | "abort", now: Date): void {
    if (verb === "resume") {
      const { rings } = this.read();
      for (const ring of rings) this.#rollout.setRing(ring, { counters: ring.counters });
      this.#rollout.resume(now);
    } else if (verb === "promote") this.#rollout.promote(this.#rollout.ring(), now);
    else {
      for (const row of this.rows.all()) this.#end(row, "cancel", now);
      this.#rollout.move("abort");
    }
    this.#read = undefined;
  }

  /** Takes a device out of service. */
  retire(deviceId: string, now: Date): void {
    this.retired.add(deviceId);
    const open = this.rows.open(deviceId);
    if (open !== undefined) this.#end(open, "retire", now);
  }

  /** Ends what is open, and makes the rollbacks of the devices that began to install. */
  #tell(now: Date): void {
    for (const row of this.rows.all()) {
      if (row.update.action === "ROLLBACK") continue;
      this.#end(row, isTaken(row.update.state) ? "roll_back" : "cancel", now);
    }
    const devices = new Set(this.rows.all().map(({ update }) => update.deviceId));
    for (const deviceId of devices) this.#tellOne(deviceId, now);
  }

  #tellOne(deviceId: string, now: Date): void {
    if (this.retired.has(deviceId)) return;
    const tries = this.rows.of(deviceId);
    if (tries.some(({ update }) => update.action === "ROLLBACK")) return;
    const due = tries.findLast(
      ({ update, failureReason }) =>
        update.installingAtMs !== undefined && failureReason !== "DEVICE_REVERTED",
    );
    if (due === undefined) return;
    const { update, key } = due;
    const bootId =
      update.provenAtMs !== undefined
        ? (this.bootIds.get(deviceId) ?? "")
        : update.state === "FAILED"
          ? ""
          : update.fromBootId;
    const blocked = this.#baseMissing;
    const rollback: OpenUpdate = {
      ...fresh(update),
      id: this.#newId(),
      action: "ROLLBACK",
      state: blocked ? "FAILED" : "OFFERED",
      fromVersion: update.toVersion,
      toVersion: update.fromVersion,
      reportedVersions: [],
      fromBootId: bootId,
      offeredAtMs: now.getTime(),
      deadlineAtMs: now.getTime() + update.deviceTimeoutMs,
    };
    this.rows.add({
      update: rollback,
      key,
      failureReason: blocked ? "ROLLBACK_TARGET_MISSING" : "",
      endedAtMs: blocked ? now.getTime() : undefined,
      retried: false,
    });
    this.#wrote(deviceId);
  }

  #end(row: UpdateRow, event: "cancel" | "roll_back" | "retire", now: Date): void {
    if (row.endedAtMs !== undefined) return;
    const state = nextUpdateState(row.update.state, event);
    if (state === undefined) return;
    this.rows.write(row, (each) => {
      each.update.state = state;
      each.endedAtMs = now.getTime();
    });
    this.#wrote(row.update.deviceId);
  }

  #wrote(deviceId: string): void {
    this.#read = undefined;
    this.log.push(deviceId);
    this.#watcher.wrote(deviceId);
  }
}

/** What the statement that writes changes sets. */
function write(row: UpdateRow, change: UpdateChange): void {
  const { update } = row;
  update.state = change.to;
  update.fromBootId = change.fromBootId ?? update.fromBootId;
  update.crashCount = change.crashCount ?? update.crashCount;
  update.installingAtMs ??= change.installingAt?.getTime();
  update.taken = update.installingAtMs !== undefined;
  update.provenAtMs ??= change.provenAt?.getTime();
  update.deadlineAtMs = change.deadlineAt?.getTime() ?? update.deadlineAtMs;
  if (change.to !== "TIMED_OUT") update.missingSinceMs = change.missingSince?.getTime();
  row.failureReason = change.failureReason ?? row.failureReason;
  row.endedAtMs = change.endedAt?.getTime();
}

/** An update of the same device that has not begun. */
function fresh(update: OpenUpdate): OpenUpdate {
  return {
    ...update,
    state: "OFFERED",
    crashCount: 0,
    installingAtMs: undefined,
    provenAtMs: undefined,
    missingSinceMs: undefined,
    taken: false,
    watchedBootId: undefined,
    notBeforeMs: undefined,
    attempt: 1,
  };
}
