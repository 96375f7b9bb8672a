import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { type Heartbeat, HeartbeatSchema } from "../../gen/ota/v1/heartbeat_pb.js";
import { HeartbeatBatchSchema } from "../../gen/ota/v1/heartbeat_service_pb.js";

/** Heartbeats that are not yet durable at the service, oldest first; when it is full the oldest gives way. */
export class HeartbeatBacklog {
  readonly #capacity: number;
  #entries: Entry[] = [];
  #dropped = 0;

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  get size(): number {
    return this.#entries.length;
  }

  /** How many heartbeats gave way to newer ones and are lost. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Adds a heartbeat. Throws if it has a value that its field cannot hold: it could never be sent. */
  push(beat: Heartbeat): void {
    const bytes = toBinary(HeartbeatSchema, beat).length + maxFramingBytes;
    this.#entries.push({ beat, bytes });
    if (this.#entries.length > this.#capacity) {
      this.#entries.shift();
      this.#dropped++;
    }
  }

  /** Forgets all up to and including `sequence`. */
  acknowledge(sequence: bigint): void {
    const kept = this.#entries.findIndex(({ beat }) => beat.sequence > sequence);
    this.#entries = kept < 0 ? [] : this.#entries.slice(kept);
  }

  /** Forgets those of more than so many bytes, and returns their sequences. */
  dropLarger(maxBytes: number): bigint[] {
    const large = this.#entries.filter(({ bytes }) => bytes > maxBytes);
    if (large.length > 0) this.#entries = this.#entries.filter(({ bytes }) => bytes <= maxBytes);
    return large.map(({ beat }) => beat.sequence);
  }

  /** The oldest after `sequence`, as many as fit into `maxBeats` and `maxBytes`, but at least one if there is one. */
  after(sequence: bigint, maxBeats: number, maxBytes: number): Heartbeat[] {
    const first = this.#entries.findIndex(({ beat }) => beat.sequence > sequence);
    const chosen: Heartbeat[] = [];
    let room = maxBytes;
    for (const { beat, bytes } of first < 0 ? [] : this.#entries.slice(first, first + maxBeats)) {
      room -= bytes;
      if (room < 0 && chosen.length > 0) break;
      chosen.push(beat);
    }
    return chosen;
  }

  /** Everything in it, as one message, to be kept over a reboot. */
  toBytes(): Uint8Array {
    return toBinary(
      HeartbeatBatchSchema,
      create(HeartbeatBatchSchema, { heartbeats: this.#entries.map(({ beat }) => beat) }),
    );
  }

  /** Restores what {@link toBytes} gave. */
  restore(bytes: Uint8Array): void {
    for (const beat of fromBinary(HeartbeatBatchSchema, bytes).heartbeats) this.push(beat);
  }
}

interface Entry {
  readonly beat: Heartbeat;
  readonly bytes: number;
}

/** Tag and length that a batch adds to each heartbeat, at most. */
const maxFramingBytes = 6;
