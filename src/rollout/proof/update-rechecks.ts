import type { Logger } from "../../infra/logger.ts";
import type { UpdateTracker } from "./update-tracker.ts";

/**
 * Open updates that are being looked at again, because the record of their device changed: the change may have ended them.
 * Whoever answers a device waits for that, or he would answer by an update that is over.
 */
export class UpdateRechecks {
  readonly #tracker: Pick<UpdateTracker, "get" | "recheck">;
  readonly #logger: Logger;
  /** By device; at most one for each open update. */
  readonly #underWay = new Map<string, Promise<void>>();

  constructor(tracker: Pick<UpdateTracker, "get" | "recheck">, logger: Logger) {
    this.#tracker = tracker;
    this.#logger = logger;
  }

  /** The look at a device's update that is under way; never rejects. */
  of(deviceId: string): Promise<void> | undefined {
    return this.#underWay.size === 0 ? undefined : this.#underWay.get(deviceId);
  }

  /** Looks at a device's open update; undefined if it has none. Never rejects: what fails is made up for by the next tick. */
  begin(deviceId: string): Promise<void> | undefined {
    if (this.#tracker.get(deviceId) === undefined) return undefined;
    const look = this.#tracker
      .recheck(deviceId)
      .catch((error: unknown) => {
        this.#logger.warn({ err: error, deviceId }, "could not look again at the update of a changed device");
      })
      .finally(() => {
        // A later change has a look of its own.
        if (this.#underWay.get(deviceId) === look) this.#underWay.delete(deviceId);
      });
    this.#underWay.set(deviceId, look);
    return look;
  }
}
