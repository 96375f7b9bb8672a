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
 * Devices by the name in their credentials. One is believed as long as a token is, and forgotten with every change of the device, so
 * that what was blocked, retired or reset is out as soon as with a token.
 */
export class DeviceHolders<Holder extends DeviceHolder> implements DeviceChangeListener, Disposable {
  readonly #clock: Clock;
  readonly #known = new SecondChanceCache<Holder>(maxHolders);
  /** The names of those, by device. */
  readonly #names = new SecondChanceCache<{ readonly name: string; used: boolean }>(maxHolders);
  readonly #loader: BatchLoader<Holder>;
  readonly #unsubscribe: () => void;
  /** Devices that changed while names were loading: what was read of them may be from before. */
  readonly #changedInLoads = new Set<string>();
  /** Since when every change was heard of, by the monotonic clock. */
  #heardSinceMs = Number.NEGATIVE_INFINITY;

  constructor(parts: DeviceHoldersParts<Holder>) {
    this.#clock = parts.clock;
    this.#loader = new BatchLoader({
      load: (names) => parts.load(names, this.#clock.monotonicMs()),
      settled: (name, holder) => {
        if (holder === undefined || this.#changedInLoads.has(holder.deviceId)) return;
        this.#known.set(name, holder);
        this.#names.set(holder.deviceId, { name, used: false });
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
    const known = this.#known.get(name);
    const sinceMs = this.#clock.monotonicMs() - freshForMs;
    if (known !== undefined && known.readAtMs >= Math.max(this.#heardSinceMs, sinceMs)) return known;
    if (known === undefined) beforeLookUp?.();
    return this.#read(name, known);
  }

  deviceChanged({ deviceId }: DeviceChange): void {
    if (this.#loader.size > 0) this.#changedInLoads.add(deviceId);
    else this.#changedInLoads.clear();
    const name = this.#names.get(deviceId)?.name;
    if (name === undefined) return;
    this.#known.delete(name);
    this.#loader.changed(name);
  }

  changesMissed(): void {
    this.#heardSinceMs = this.#clock.monotonicMs();
  }

  [Symbol.dispose](): void {
    this.#unsubscribe();
  }

  async #read(name: string, known: Holder | undefined): Promise<Holder | undefined> {
    let found: Holder | undefined;
    try {
      found = await this.#loader.get(name);
    } catch (error) {
      const outage = asDatabaseError(error);
      if (outage === undefined) throw error;
      // While the database is away nobody can change anything, so what was true a moment ago still is.
      if (known !== undefined && this.#clock.monotonicMs() - known.readAtMs < trustedForMs) return known;
      throw outage;
    }
    if (found === undefined) this.#known.delete(name);
    return found;
  }
}

/** As of tokens. */
const freshForMs = 30_000;
const trustedForMs = 5 * 60_000;
const maxHolders = 300_000;
const maxPendingLookups = 20_000;
