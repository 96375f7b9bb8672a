import { freshForMs, trustedForMs } from "../../access/authenticator.ts";
import { BatchLoader } from "../../infra/batch-loader.ts";
import type { Clock } from "../../infra/clock.ts";
import { asDatabaseError } from "../../infra/database/errors.ts";
import { type Cacheable, SecondChanceCache } from "../../infra/second-chance-cache.ts";
import type { DeviceChange, DeviceChangeListener, DeviceChanges } from "./device-changes.ts";

/** A device as its credentials are judged by. */
export interface DeviceHolder extends Cacheable {
  readonly deviceId: string;
  /** Monotonic milliseconds of the start of the read: what changed later is not in it. */
  readonly readAtMs: number;
}

/** What {@link DeviceHolders} are made of. */
export interface DeviceHoldersParts<Holder> {
  readonly changes: Pick<DeviceChanges, "subscribe">;
  readonly clock: Clock;
  /** Reads the devices in service that have these names. */
  load(names: readonly string[], readAtMs: number): Promise<ReadonlyMap<string, Holder>>;
}

/**
 * Devices by the name in their credentials. One is believed as long as a token is, and no longer than until its device changes, so
 * that what was blocked, retired or reset is out as soon as with a token.
 */
export class DeviceHolders<Holder extends DeviceHolder> implements DeviceChangeListener, Disposable {
  readonly #clock: Clock;
  readonly #known = new SecondChanceCache<Holder>(maxHolders);
  readonly #loader: BatchLoader<Holder>;
  readonly #unsubscribe: () => void;
  /** When devices changed last, see {@link #momentMs}: what was read of them before does not count. */
  readonly #changedAtMs = new Map<string, number>();
  /** Until when changes may have been forgotten that matter. */
  #forgottenUntilMs = Number.NEGATIVE_INFINITY;
  #prunedAtMs = Number.NEGATIVE_INFINITY;
  /** Since when every change was heard of. */
  #heardSinceMs = Number.NEGATIVE_INFINITY;
  #lastMomentMs = Number.NEGATIVE_INFINITY;

  constructor(parts: DeviceHoldersParts<Holder>) {
    this.#clock = parts.clock;
    this.#loader = new BatchLoader({
      load: (names) => parts.load(names, this.#momentMs()),
      settled: (name, holder) => {
        if (holder !== undefined && this.#isCurrent(holder)) this.#known.set(name, holder);
      },
      maxBatch: 1_000,
      maxPending: maxPendingLookups,
    });
    this.#unsubscribe = parts.changes.subscribe(this);
  }

  /**
   * The device of that name, at once where it is in memory; undefined if there is none. `beforeLookUp` may refuse to look for one
   * that is not. Rejects with `DATABASE_UNAVAILABLE` if it must be read and cannot be.
   */
  get(name: string, beforeLookUp?: () => void): Holder | Promise<Holder | undefined> {
    const known = this.#recall(name);
    const sinceMs = this.#clock.monotonicMs() - freshForMs;
    if (known !== undefined && known.readAtMs >= Math.max(this.#heardSinceMs, sinceMs)) return known;
    if (known === undefined) beforeLookUp?.();
    return this.#read(name, known);
  }

  deviceChanged({ deviceId }: DeviceChange): void {
    const nowMs = this.#momentMs();
    if (nowMs - this.#prunedAtMs >= trustedForMs) this.#prune(nowMs);
    this.#changedAtMs.set(deviceId, nowMs);
    if (this.#changedAtMs.size <= maxChanges) return;
    this.#changedAtMs.clear();
    this.#forgottenUntilMs = nowMs;
  }

  changesMissed(): void {
    this.#heardSinceMs = this.#momentMs();
  }

  [Symbol.dispose](): void {
    this.#unsubscribe();
  }

  async #read(name: string, known: Holder | undefined): Promise<Holder | undefined> {
    let found: Holder | undefined;
    try {
      do found = await this.#loader.get(name);
      while (found !== undefined && !this.#isCurrent(found));
    } catch (error) {
      const outage = asDatabaseError(error);
      if (outage === undefined) throw error;
      // While the database is away nobody can change anything, so what was true a moment ago still is.
      const isTrusted = known !== undefined && this.#clock.monotonicMs() - known.readAtMs < trustedForMs;
      if (isTrusted && this.#isCurrent(known)) return known;
      throw outage;
    }
    if (found === undefined) this.#known.delete(name);
    return found;
  }

  /** The device of that name in memory, unless it has changed since. */
  #recall(name: string): Holder | undefined {
    const known = this.#known.get(name);
    if (known === undefined || this.#isCurrent(known)) return known;
    this.#known.delete(name);
    return undefined;
  }

  #isCurrent({ deviceId, readAtMs }: Holder): boolean {
    return readAtMs > (this.#changedAtMs.get(deviceId) ?? this.#forgottenUntilMs);
  }

  /** Forgets changes from before all that is still believed. */
  #prune(nowMs: number): void {
    this.#prunedAtMs = nowMs;
    for (const [deviceId, changedAtMs] of this.#changedAtMs) {
      if (nowMs - changedAtMs >= trustedForMs) this.#changedAtMs.delete(deviceId);
    }
  }

  /** The monotonic clock, by which no two moments are the same: of a read and a change it says which began first. */
  #momentMs(): number {
    this.#lastMomentMs = Math.max(this.#clock.monotonicMs(), this.#lastMomentMs + smallestStepMs);
    return this.#lastMomentMs;
  }
}

const maxHolders = 300_000;
const maxPendingLookups = 20_000;

/** Some hundred bytes each; after more, all devices are read again once. */
const maxChanges = 100_000;

/** Less than any two turns of the event loop are apart. */
const smallestStepMs = 0.000_1;
