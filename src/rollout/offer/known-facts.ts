import type { Clock } from "../../infra/clock.ts";
import { type Cacheable, SecondChanceCache } from "../../infra/second-chance-cache.ts";
import type { Rollout } from "../model/rollout.ts";
import { waysOutRestMs } from "../model/way-out.ts";
import type { UpdateTracker } from "../proof/update-tracker.ts";
import type { CompiledRollout } from "../rules/compiled-rollout.ts";
import { givesWay } from "../rules/giving-way.ts";
import type { OfferFacts } from "../rules/rule.ts";
import { Deferrals } from "./deferrals.ts";
import type { RolloutIndex } from "./rollout-index.ts";

/** What this replica knows of devices and rollouts when a rule asks, all of it in memory. */
export class KnownFacts implements OfferFacts {
  readonly deferrals = new Deferrals();
  readonly #tracker: Pick<UpdateTracker, "get" | "inProgress">;
  readonly #rollouts: Pick<RolloutIndex, "get">;
  readonly #clock: Clock;
  /** Devices known to have had rollouts' updates, so that they cost no write at each check. */
  #tried = new SecondChanceCache<TriedRollouts>(maxDevices);

  constructor(
    tracker: Pick<UpdateTracker, "get" | "inProgress">,
    rollouts: Pick<RolloutIndex, "get">,
    clock: Clock,
  ) {
    this.#tracker = tracker;
    this.#rollouts = rollouts;
    this.#clock = clock;
  }

  /** Notes what the database said: the device has had the rollout's update. Of the way out of a recall that passes. */
  tried({ id, recalledVersion }: Pick<Rollout, "id" | "recalledVersion">, deviceId: string): void {
    const untilMs = recalledVersion === undefined ? Number.POSITIVE_INFINITY : this.nowMs() + waysOutRestMs;
    const known = this.#tried.get(deviceId);
    if (known === undefined) this.#tried.set(deviceId, { used: false, untilMs: new Map([[id, untilMs]]) });
    else known.untilMs.set(id, untilMs);
  }

  /** Forgets what the database said of a device, or of all: another board in its place has had nothing. */
  forget(deviceId?: string): void {
    if (deviceId === undefined) this.#tried = new SecondChanceCache(maxDevices);
    else this.#tried.delete(deviceId);
  }

  nowMs(): number {
    return this.#clock.now().getTime();
  }

  wasTried(rolloutId: string, deviceId: string): boolean {
    if (this.#tried.size === 0) return false;
    const untilMs = this.#tried.get(deviceId)?.untilMs.get(rolloutId);
    return untilMs !== undefined && untilMs > this.nowMs();
  }

  inProgress(rolloutId: string): number {
    return this.#tracker.inProgress(rolloutId);
  }

  pacedUntilMs(rolloutId: string): number {
    return this.deferrals.pacedUntilMs(rolloutId);
  }

  openRollout(deviceId: string, asking: CompiledRollout): string | undefined {
    const open = this.#tracker.get(deviceId);
    if (open === undefined || open.rolloutId === asking.id) return open?.rolloutId;
    return givesWay(open, this.#rollouts.get(open.rolloutId)?.rollout, asking) ? undefined : open.rolloutId;
  }
}

/** The rollouts whose update a device has had. */
interface TriedRollouts extends Cacheable {
  /** Until when each of them counts, by id. */
  readonly untilMs: Map<string, number>;
}

/** Devices that are remembered, at some 250 bytes each. */
const maxDevices = 100_000;
