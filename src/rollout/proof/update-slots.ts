import { type OpenUpdate, takesSlot } from "../model/open-update.ts";

/** An open update, with whether it is counted. */
interface Counted {
  readonly update: Readonly<OpenUpdate>;
  slotTaken: boolean;
}

/**
 * How many of the devices that a rollout allows at its update at once are at it. A device that waits for its further try is
 * not: it takes its slot when it begins with that. Rollbacks have no such limit.
 */
export class UpdateSlots {
  readonly #taken = new Map<string, number>();

  /** How many of a rollout are taken. */
  taken(rolloutId: string): number {
    return this.#taken.get(rolloutId) ?? 0;
  }

  /** Counts an update as it stands now. */
  count(counted: Counted): void {
    this.#set(counted, takesSlot(counted.update));
  }

  /** Takes an update out of the count. */
  release(counted: Counted): void {
    this.#set(counted, false);
  }

  #set(counted: Counted, takes: boolean): void {
    if (counted.slotTaken === takes) return;
    counted.slotTaken = takes;
    const { rolloutId } = counted.update;
    const taken = this.taken(rolloutId) + (takes ? 1 : -1);
    if (taken > 0) this.#taken.set(rolloutId, taken);
    else this.#taken.delete(rolloutId);
  }
}
