/**
 * What was set within the last period, by key. Whatever was not set for two periods is forgotten, without timers and
 * without a sweep: two maps take turns. For states of which an old one says the same as none.
 */
export class RecentMap<V> {
  readonly #periodMs: number;
  #young = new Map<string, V>();
  #old = new Map<string, V>();
  #turnAtMs = Number.NEGATIVE_INFINITY;

  constructor(periodMs: number) {
    this.#periodMs = periodMs;
  }

  get size(): number {
    return this.#young.size + this.#old.size;
  }

  /** What was set, if that was less than a period ago; perhaps also if it was longer ago. `nowMs` never falls. */
  get(key: string, nowMs: number): V | undefined {
    if (nowMs >= this.#turnAtMs || this.#young.size >= maxKeysPerGeneration) this.#turn(nowMs);
    return this.#young.get(key) ?? this.#old.get(key);
  }

  /** To be called after {@link RecentMap.get} at the same time. */
  set(key: string, value: V): void {
    this.#young.set(key, value);
  }

  #turn(nowMs: number): void {
    // After a longer pause the young ones are stale as well.
    const stale = nowMs >= this.#turnAtMs + this.#periodMs;
    this.#old = stale ? new Map() : this.#young;
    this.#young = new Map();
    this.#turnAtMs = nowMs + this.#periodMs;
  }
}

/** Beyond it the older generation is forgotten early, so a flood of addresses cannot fill the memory. */
const maxKeysPerGeneration = 500_000;
