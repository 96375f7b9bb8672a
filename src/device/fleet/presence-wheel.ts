import {
  nextPresenceChange,
  type Presence,
  type PresenceCutoffs,
  presenceAt,
  presenceCutoffs,
} from "../state/presence.ts";

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
 * device sends. A device may have an interval of its own. Pure: it reads no clock and no database.
 */
export class PresenceWheel {
  readonly #intervalMs: number;
  readonly #maxDevices: number;
  readonly #devices = new Map<string, Tracked>();
  readonly #slots = new Map<number, string[]>();
  #turnedTo: number | undefined;

  /** `intervalMs` is that of devices with none of their own. `maxDevices` bounds the memory, at some 170 bytes each. */
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
  add(deviceId: string, seenSecond: number, nowMs: number, ownIntervalMs?: number): boolean {
    if (this.#devices.has(deviceId)) return true;
    if (this.#devices.size >= this.#maxDevices) return false;
    const intervalMs = ownIntervalMs ?? this.#intervalMs;
    const presence = presenceAt(seenSecond, presenceCutoffs(nowMs, intervalMs));
    if (presence === "offline") return true;
    const device = { seenSecond, presence, intervalMs, slot: 0 };
    this.#devices.set(deviceId, device);
    this.#arm(deviceId, device);
    return true;
  }

  /** A watched device is expected at another interval, or at that of all. Returns the change if it is judged otherwise by that. */
  expect(deviceId: string, nowMs: number, ownIntervalMs?: number): PresenceChange | undefined {
    const device = this.#devices.get(deviceId);
    const intervalMs = ownIntervalMs ?? this.#intervalMs;
    if (device === undefined || device.intervalMs === intervalMs) return undefined;
    device.intervalMs = intervalMs;
    return this.#judge(deviceId, device, presenceCutoffs(nowMs, intervalMs));
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
    this.#arm(deviceId, device);
    return { deviceId, presence: "online", previous, seenSecond };
  }

  /** Turns to a time and returns the devices that fell silent, each once; those that went offline are forgotten. */
  turn(nowMs: number): PresenceChange[] {
    const second = Math.floor(nowMs / 1_000);
    if (second < (this.#turnedTo ?? second) - correctedSeconds) this.#turnBack(second);
    const cutoffs = presenceCutoffs(nowMs, this.#intervalMs);
    const due = this.#dueSlots(second).map((slot) => ({ slot, deviceIds: this.#slots.get(slot) ?? [] }));
    for (const { slot } of due) this.#slots.delete(slot);
    this.#turnedTo = Math.max(second, this.#turnedTo ?? second);
    const changes: PresenceChange[] = [];
    for (const { slot, deviceIds } of due) {
      for (const deviceId of deviceIds) {
        const device = this.#devices.get(deviceId);
        // It may have been given another place since, or be gone.
        if (device?.slot !== slot) continue;
        const { intervalMs } = device;
        const own = intervalMs === this.#intervalMs ? cutoffs : presenceCutoffs(nowMs, intervalMs);
        const change = this.#judge(deviceId, device, own);
        if (change !== undefined) changes.push(change);
      }
    }
    return changes;
  }

  /** Judges a device anew and gives it its place; returns the change, if it is one. */
  #judge(deviceId: string, device: Tracked, cutoffs: PresenceCutoffs): PresenceChange | undefined {
    const { presence: previous, seenSecond } = device;
    const presence = presenceAt(seenSecond, cutoffs);
    device.presence = presence;
    if (presence === "offline") this.#devices.delete(deviceId);
    else this.#arm(deviceId, device);
    return presence === previous ? undefined : { deviceId, presence, previous, seenSecond };
  }

  /** After the clock was set back: what was heard at a time that is still to come counts as heard now. */
  #turnBack(second: number): void {
    this.#turnedTo = second;
    this.#slots.clear();
    for (const [deviceId, device] of this.#devices) {
      device.seenSecond = Math.min(device.seenSecond, second);
      this.#arm(deviceId, device);
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

  #arm(deviceId: string, device: Tracked): void {
    const due = nextPresenceChange(device.seenSecond, device.presence, device.intervalMs);
    if (due === undefined) return;
    // A second that has passed already is never turned to again.
    const slot = this.#turnedTo === undefined ? due : Math.max(due, this.#turnedTo + 1);
    device.slot = slot;
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
  intervalMs: number;
  /** The second under which it stands in the wheel. */
  slot: number;
}
