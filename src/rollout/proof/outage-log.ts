/** Whose outage it is: devices can prove nothing without the first, and get nothing without the second. */
export type OutageSource = "database" | "object_store";

/**
 * Remembers when our own database or object store was away, so that no device's deadline passes because of us. An outage
 * begins with the first failure and lasts until something works again, but at most {@link assumedOutageMs} beyond its last
 * failure: a store that nobody asks is not known to be away.
 *
 * What happened while this replica did not run is not known to it. Instead no deadline passes for a grace period after the
 * start, as after each outage: in it a device that is well is heard from, and its evidence is counted.
 */
export class OutageLog {
  readonly #graceMs: number;
  readonly #open = new Map<OutageSource, { fromMs: number; lastMs: number }>();
  #past: { fromMs: number; toMs: number }[] = [];

  /** @param graceMs how long after the start, and after each outage, devices have to be heard from */
  constructor(graceMs: number, startedAtMs: number) {
    this.#graceMs = graceMs;
    this.#past.push({ fromMs: startedAtMs, toMs: startedAtMs });
  }

  /** Something failed for want of the source. */
  failed(source: OutageSource, nowMs: number): void {
    const outage = this.#open.get(source);
    if (outage !== undefined && nowMs - outage.lastMs <= assumedOutageMs)
      outage.lastMs = Math.max(outage.lastMs, nowMs);
    else {
      if (outage !== undefined) this.#close(outage.fromMs, outage.lastMs + assumedOutageMs);
      this.#open.set(source, { fromMs: nowMs, lastMs: nowMs });
    }
  }

  /** Something worked. */
  worked(source: OutageSource, nowMs: number): void {
    const outage = this.#open.get(source);
    if (outage === undefined) return;
    this.#open.delete(source);
    const toMs = Math.min(nowMs, outage.lastMs + assumedOutageMs);
    this.#close(outage.fromMs, Math.max(toMs, outage.fromMs + 1));
  }

  /** Time by the wall clock that did not pass, or in which the machine slept. */
  lost(fromMs: number, toMs: number): void {
    this.#close(fromMs, toMs);
  }

  /** A deadline with all the time added that outages took from it, grace included. */
  extended(fromMs: number, deadlineMs: number, nowMs: number): number {
    const outages = this.#merged(nowMs);
    let endMs = deadlineMs;
    for (const { fromMs: outageFromMs, toMs } of outages) {
      // Also an outage that begins in time which earlier outages added.
      if (outageFromMs < endMs) endMs += Math.max(0, toMs - Math.max(outageFromMs, fromMs));
    }
    const lastEndMs = outages.at(-1)?.toMs ?? 0;
    return Math.max(endMs, lastEndMs + this.#graceMs);
  }

  /** Whether something of ours was away at some time in between. */
  touched(fromMs: number, toMs: number): boolean {
    const overlaps = (outage: { fromMs: number; toMs: number }): boolean =>
      outage.fromMs <= toMs && outage.toMs >= fromMs;
    // The start is no outage. One that was noted in this very millisecond is.
    if (this.#past.some((outage) => outage.toMs > outage.fromMs && overlaps(outage))) return true;
    return this.#open
      .values()
      .some((outage) => overlaps({ fromMs: outage.fromMs, toMs: outage.lastMs + assumedOutageMs }));
  }

  #close(fromMs: number, toMs: number): void {
    this.#past.push({ fromMs, toMs });
    // The oldest are the ones that the fewest deadlines still need.
    if (this.#past.length > maxOutages) this.#past = this.#past.slice(-maxOutages);
  }

  /** All outages in order, without overlap. */
  #merged(nowMs: number): { fromMs: number; toMs: number }[] {
    const merged: { fromMs: number; toMs: number }[] = [];
    const open = [...this.#open.values()].map(({ fromMs, lastMs }) => ({
      fromMs,
      toMs: Math.min(nowMs, lastMs + assumedOutageMs),
    }));
    for (const outage of [...this.#past, ...open].sort((a, b) => a.fromMs - b.fromMs)) {
      const last = merged.at(-1);
      if (last !== undefined && outage.fromMs <= last.toMs) last.toMs = Math.max(last.toMs, outage.toMs);
      else merged.push({ ...outage });
    }
    return merged;
  }
}

/** Long enough for the next attempt to show whether the outage goes on. */
export const assumedOutageMs = 60_000;

/** Outages that are remembered. */
const maxOutages = 64;
