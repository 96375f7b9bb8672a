import { randomUUID } from "node:crypto";
import type { DeviceState, DeviceStorage } from "./device-storage.ts";

/**
 * The device's state in memory, and on disk before anyone relies on it. Sequences are reserved on disk in blocks, so
 * that a heartbeat does not cost a write; a loss of power then leaves a gap, never a sequence that is used twice.
 */
export class DeviceMemory {
  readonly #storage: DeviceStorage;
  #state: DeviceState;
  #sequence: number;
  #saving: Promise<void> = Promise.resolve();

  private constructor(storage: DeviceStorage, state: DeviceState) {
    this.#storage = storage;
    this.#state = state;
    this.#sequence = state.sequence;
  }

  /** Reads the state, or begins a new one. */
  static async open(storage: DeviceStorage): Promise<DeviceMemory> {
    const known = await storage.load();
    if (known !== undefined) return new DeviceMemory(storage, { ...firstState(), ...known });
    const memory = new DeviceMemory(storage, firstState());
    await memory.update({});
    return memory;
  }

  /** What is durable. */
  get state(): DeviceState {
    return this.#state;
  }

  /** The highest sequence that has been given out. */
  get sequence(): number {
    return this.#sequence;
  }

  /** Changes the state; resolves when the change is durable. */
  update(change: Partial<DeviceState>): Promise<void> {
    const saved = this.#saving.then(async () => {
      const state = { ...this.#state, ...change };
      await this.#storage.save(state);
      this.#state = state;
    });
    // A failed write is told to its caller; the next one must be tried all the same.
    this.#saving = saved.catch(() => undefined);
    return saved;
  }

  /** Gives out the next sequence. */
  async nextSequence(): Promise<number> {
    const sequence = ++this.#sequence;
    // Without a disk to spare there is no reason for gaps.
    const block = this.#storage.durable ? sequenceBlock : 1;
    if (sequence > this.#state.sequence) await this.update({ sequence: sequence + block - 1 });
    return sequence;
  }

  /** Begins a new epoch, for a device that finds its counter lost or its epoch used up. */
  beginEpoch(epoch: number): Promise<void> {
    return this.update({ epoch });
  }

  /** Gives back the sequences that were reserved and not used; call it last, on a planned end. */
  close(): Promise<void> {
    return this.update({ sequence: this.#sequence });
  }
}

/** Adds an update to those that are not tried again; the oldest are forgotten. */
export function remember(updateIds: readonly string[], updateId: string): readonly string[] {
  return [...updateIds.filter((id) => id !== updateId), updateId].slice(-maxRemembered);
}

/** How many updates that did not hold are remembered. */
const maxRemembered = 16;

/** Sequences reserved with one write. */
const sequenceBlock = 64;

function firstState(): DeviceState {
  return {
    enrolmentRequestId: randomUUID(),
    identity: undefined,
    epoch: 1,
    sequence: 0,
    securityCounter: 0,
    securityFloor: 0,
    pending: undefined,
    reverted: [],
    ran: [],
    products: [],
  };
}
