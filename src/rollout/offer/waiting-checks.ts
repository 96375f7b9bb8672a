import { Alarm } from "../../infra/alarm.ts";
import type { DirectiveSender } from "./directives.ts";

/**
 * Update checks that wait on this replica until there is an offer: how devices without a stream hear of an update within seconds.
 * One of each device, the newest. They are told what streams are told, and then look again for themselves; until then they cost
 * memory alone.
 */
export class WaitingChecks implements DirectiveSender {
  readonly #checks = new Map<string, WaitingCheck>();
  #isDraining = false;

  /** Checks that wait. */
  get size(): number {
    return this.#checks.size;
  }

  /** Whether the service stops, and no check may wait any more. */
  get isDraining(): boolean {
    return this.#isDraining;
  }

  /**
   * Lets a device's check wait, in the place that `take` gives it; what that throws is thrown. An older check of the device, whose
   * connection may be dead, is answered as it stands. To be disposed of when the check is answered.
   */
  begin(deviceId: string, take: () => Place): WaitingCheck {
    this.#checks.get(deviceId)?.end();
    const place = take();
    const check = new WaitingCheck((ended) => {
      if (this.#checks.get(deviceId) === ended) this.#checks.delete(deviceId);
      place.release();
    });
    this.#checks.set(deviceId, check);
    return check;
  }

  connectedDevices(): Iterable<string> {
    return this.#checks.keys();
  }

  updateAvailable(deviceId: string): boolean {
    return this.#lookAgain(deviceId);
  }

  /** What takes the place of the update may be for the device. */
  cancelUpdate(deviceId: string): boolean {
    return this.#lookAgain(deviceId);
  }

  /** Ends a device's check with an error, for example because it was blocked. */
  disconnect(deviceId: string, why: Error): void {
    this.#checks.get(deviceId)?.end(why);
  }

  /** Has all checks answered as they stand; from now on none waits. */
  drain(): void {
    this.#isDraining = true;
    for (const check of this.#checks.values()) check.end();
  }

  #lookAgain(deviceId: string): boolean {
    const check = this.#checks.get(deviceId);
    check?.lookAgain();
    return check !== undefined;
  }
}

/** What a check holds while it waits; to be released once. */
interface Place {
  release(): void;
}

/** One check that waits. */
export class WaitingCheck implements Disposable {
  readonly #alarm = new Alarm();
  readonly #ended: (check: WaitingCheck) => void;
  #isOver = false;
  #why: Error | undefined;

  constructor(ended: (check: WaitingCheck) => void) {
    this.#ended = ended;
  }

  /**
   * Waits up to `ms` milliseconds for a reason to look again, also one that came since the last look. False: nobody should wait any
   * more. Throws why the device may not wait, or the signal's reason.
   */
  async pause(ms: number, signal: AbortSignal): Promise<boolean> {
    if (!this.#isOver) await this.#alarm.wait(ms, signal);
    signal.throwIfAborted();
    if (this.#why !== undefined) throw this.#why;
    return !this.#isOver;
  }

  /** There may be something for the device. */
  lookAgain(): void {
    this.#alarm.ring();
  }

  /** Gives up its place, and has it answered: with an error, or as it stands. */
  end(why?: Error): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#why = why;
    this.#ended(this);
    this.#alarm.ring();
  }

  [Symbol.dispose](): void {
    this.end();
  }
}
