import assert from "node:assert/strict";
import { StreamOpenings } from "../../src/heartbeat/stream-openings.ts";
import { sessionOn } from "../../src/infra/database/session.ts";
import { device, type IngestFixture, records, stored, stream } from "./heartbeat-fixture.ts";

/** A device that keeps to the contract, what it should find stored, and the checks of that. */
export class ModelDevice {
  readonly #id = device();
  readonly #replicas: readonly IngestFixture[];
  readonly #openings: readonly StreamOpenings[];
  /** All numbers ever given to a heartbeat, by epoch. */
  readonly #made = new Map<number, number[]>([[1, []]]);
  #epoch = 1;
  #next = 1;
  #replica: IngestFixture | undefined;
  #generation = 0;
  #results: Promise<void>[] = [];

  constructor(replicas: readonly IngestFixture[]) {
    this.#replicas = replicas;
    this.#openings = replicas.map(({ pool }) => new StreamOpenings(sessionOn(pool)));
  }

  /** New heartbeats behind some of the last ones again, in any order. */
  async send(count: number, repeat: number, shuffle: number): Promise<void> {
    if (this.#replica === undefined) await this.connect(0);
    const made = this.#given();
    const batch = repeat === 0 ? [] : made.slice(-repeat);
    for (let index = 0; index < count; index++) {
      batch.push(this.#next);
      made.push(this.#next++);
    }
    this.#submit(batch.toSorted((a, b) => ((a * 7919 + shuffle) % 13) - ((b * 7919 + shuffle) % 13)));
  }

  /** Numbers that are never sent: what a device with a full memory dropped. */
  skip(count: number): void {
    this.#next += count;
  }

  /** A new stream, on which everything that is not durable is sent again. */
  async connect(replica: number): Promise<void> {
    this.#replica = this.#replicas[replica] as IngestFixture;
    const opening = await untilConnected(() =>
      (this.#openings[replica] as StreamOpenings).open(this.#id, this.#epoch),
    );
    assert.ok(opening.generation > this.#generation);
    this.#generation = opening.generation;
    await this.#expectDurable(this.#epoch, opening.durableSequence);
    const missing = this.#given().filter((sequence) => sequence > opening.durableSequence);
    if (missing.length > 0) this.#submit(missing);
  }

  /** The counter is lost, and with it what was not acknowledged. */
  async reset(): Promise<void> {
    await this.settle();
    this.#epoch++;
    this.#next = 1;
    this.#made.set(this.#epoch, []);
    await this.connect(0);
  }

  async settle(): Promise<void> {
    await Promise.all(this.#results);
    this.#results = [];
  }

  async finish(): Promise<void> {
    await this.connect(1);
    await this.settle();
    for (const [epoch, made] of this.#made) {
      assert.deepEqual(
        await untilConnected(() => stored(this.#replicas[0] as IngestFixture, this.#id, epoch)),
        made,
      );
    }
  }

  #given(): number[] {
    return this.#made.get(this.#epoch) as number[];
  }

  #submit(sequences: readonly number[]): void {
    const epoch = this.#epoch;
    const { result } = stream(this.#replica as IngestFixture, {
      deviceId: this.#id,
      epoch,
      generation: this.#generation,
      records: records(this.#id, sequences, { epoch }),
    });
    this.#results.push(
      result.then(
        ({ ackedThrough, rejected }) => {
          assert.deepEqual(rejected, []);
          return this.#expectDurable(epoch, ackedThrough);
        },
        // Only the newest stream may go on; a stale epoch is that of a stream from before a reset.
        (error: { reason?: string }) => assert.match(error.reason ?? "", /SUPERSEDED|STALE/),
      ),
    );
  }

  /** Everything up to an acknowledged number is there. */
  async #expectDurable(epoch: number, through: number): Promise<void> {
    const expected = (this.#made.get(epoch) as number[]).filter((sequence) => sequence <= through);
    const found = await untilConnected(() => stored(this.#replicas[1] as IngestFixture, this.#id, epoch));
    assert.deepEqual(
      found.filter((sequence) => sequence <= through),
      expected,
    );
  }
}

/** Again while it fails: the test's own queries may meet a connection that was cut as well. */
export async function untilConnected<T>(attempt: () => Promise<T>): Promise<T> {
  for (let failures = 0; ; failures++) {
    try {
      return await attempt();
    } catch (error) {
      if (failures >= 10) throw error;
    }
  }
}
