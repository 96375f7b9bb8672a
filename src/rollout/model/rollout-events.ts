import type { DeviceUpdateState } from "./device-update.entity.ts";
import type { OpenUpdate } from "./open-update.ts";

/** What happens in the rollouts of a replica that other parts act upon, with what they are told. */
export interface RolloutEventMap {
  /** Counters of these rollouts changed here: devices' updates went on, and it is committed. */
  counted: [rolloutIds: ReadonlySet<string>];
  /** An update is over; `here` if this replica wrote that, for the device's own evidence, reports or deadline. */
  ended: [update: OpenUpdate, state: DeviceUpdateState, here: boolean];
  /** This replica found a device missing, or back, and it is committed. */
  silence: [update: OpenUpdate, missing: boolean];
  /** A rollout was changed here, and it is committed. */
  changed: [rolloutId: string];
  /** A rollout can be read no more, or again, and does not say so yet. */
  alert_due: [rolloutId: string];
}

type Listener<Name extends keyof RolloutEventMap> = (...told: RolloutEventMap[Name]) => void | Promise<void>;

/**
 * Tells the parts of a replica's rollouts what happens in the others, so that each is made of those before it only and none
 * has to know who comes later. Listeners are called at once, in the order in which they came, and must not throw.
 */
export class RolloutEvents {
  readonly #listeners: { [Name in keyof RolloutEventMap]: Listener<Name>[] } = {
    counted: [],
    ended: [],
    silence: [],
    changed: [],
    alert_due: [],
  };

  on<Name extends keyof RolloutEventMap>(name: Name, listener: Listener<Name>): void {
    this.#listeners[name].push(listener);
  }

  /** Tells of an event; what it returns resolves when all listeners have acted. */
  async emit<Name extends keyof RolloutEventMap>(name: Name, ...told: RolloutEventMap[Name]): Promise<void> {
    await Promise.all(this.#listeners[name].map(async (listener) => listener(...told)));
  }
}
