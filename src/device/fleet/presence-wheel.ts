import { nextPresenceChange, type Presence, presenceAt, presenceCutoffs } from "../state/presence.ts";

/** A device whose presence changed. */
export interface PresenceChange {
  readonly deviceId: string;
  readonly presence: Presence;
  readonly previous: Presence;
  /** The second, since 1970, in which it was last heard. */
  readonly seenSecond: number;
}

/**
 * The devices that are not offline, each under the second in which its silence would count. Being heard moves only a
 * number; the place in the wheel is put right when its second comes: about once in 1.5 intervals, however often the
 * device sends. Pure: it reads no clock and no database.
 */
export class PresenceWheel {
  readonly #intervalMs: number;
  readonly #maxDevices: number;
  readonly #devices = new Map<string, Tracked>();
  readonly #slots = new Map<number, string[]>();
  #turnedTo: number | undefined;

  /** `maxDevices` bounds the memory, at some 150 bytes each. */
  constructor(intervalMs: number, maxDevices: number) {
    this.#intervalMs = intervalMs;
    this.#maxDevices = maxDevices;
  }

  /** How many devices it watches. */
  get size(): number {
    return this.#devices.size;
  }

  /** Whether it watches a device. */
  has(deviceId: string): boolean {
    return this.#devices.has(deviceId);
  }

  /** Begins to watch a device, unless it does already or is full; false if it is full. */
  add(deviceId: string, seenSecond: number, nowMs: number): boolean {
    if (this.#devices.has(deviceId)) return true;
    if (this.#devices.size >= this.#maxDevices) return false;
    const presence = presenceAt(seenSecond, presenceCutoffs(nowMs, this.#intervalMs));
    if (presence === "offline") return true;
    this.#devices.set(deviceId, { seenSecond, presence });
    this.#arm(deviceId, seenSecond, presence);
    return true;
  }

  /** Stops watching a device. */
  forget(deviceId: string): void {
    this.#devices.delete(deviceId);
  }

  /** A watched device was heard. Returns the change if it was late. */
  heard(deviceId: string, seenSecond: number): PresenceChange | undefined {
    const device = this.#devices.get(deviceId);
    if (device === undefined || seenSecond <= device.seenSecond) return undefined;
    device.seenSecond = seenSecond;
    const { presence: previous } = device;
    if (previous === "online") return undefined;
    device.presence = "online";
    this.#arm(deviceId, seenSecond, "online");
    return { deviceId, presence: "online", previous, seenSecond };
  }

  /** Turns to a time and returns the devices that fell silent, each once; those that went offline are forgotten. */
  turn(nowMs: number): PresenceChange[] {
    const second = Math.floor(nowMs / 1_000);
    if (second < (this.#turnedTo ?? second) - correctedSeconds) this.#turnBack(second);
    const cutoffs = presenceCutoffs(nowMs, this.#intervalMs);
    const due: string[] = [];
    for (const slot of this.#dueSlots(second)) {
      due.push(...(this.#slots.get(slot) ?? []));
      this.#slots.delete(slot);
    }
    this.#turnedTo = Math.max(second, this.#turnedTo ?? second);
    const changes: PresenceChange[] = [];
    for (const deviceId of due) {
      const device = this.#devices.get(deviceId);
      if (device === undefined) continue;
      const { presence: previous, seenSecond } = device;
      const presence = presenceAt(seenSecond, cutoffs);
      if (presence !== previous) changes.push({ deviceId, presence, previous, seenSecond });
      device.presence = presence;
      if (presence === "offline") this.#devices.delete(deviceId);
      else this.#arm(deviceId, seenSecond, presence);
    }
    return changes;
  }

  /** After the clock was set back: what was heard at a time that is still to come counts as heard now. */
  #turnBack(second: number): void {
    this.#turnedTo = second;
    this.#slots.clear();
    for (const [deviceId, device] of this.#devices) {
      device.seenSecond = Math.min(device.seenSecond, second);
      this.#arm(deviceId, device.seenSecond, device.presence);
    }
  }

  #dueSlots(second: number): number[] {
    const from = this.#turnedTo === undefined ? undefined : this.#turnedTo + 1;
    // After a jump of the clock, or at first, it is cheaper to look at the slots that there are.
    if (from === undefined || second - from > this.#slots.size) {
      return [...this.#slots.keys()].filter((slot) => slot <= second).toSorted((a, b) => a - b);
    }
    const slots: number[] = [];
    for (let slot = from; slot <= second; slot++) if (this.#slots.has(slot)) slots.push(slot);
    return slots;
  }

  #arm(deviceId: string, seenSecond: number, presence: Presence): void {
    const due = nextPresenceChange(seenSecond, presence, this.#intervalMs);
    if (due === undefined) return;
    // A second that has passed already is never turned to again.
    const slot = this.#turnedTo === undefined ? due : Math.max(due, this.#turnedTo + 1);
    const ids = this.#slots.get(slot);
    if (ids === undefined) this.#slots.set(slot, [deviceId]);
    else ids.push(deviceId);
  }
}

/** By no more than that a clock is corrected without being set. */
const correctedSeconds = 5;

interface Tracked {
  seenSecond: number;
  presence: Presence;
}
