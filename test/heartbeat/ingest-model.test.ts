import fc from "fast-check";
import { expect, test } from "vitest";
import { StreamOpenings } from "../../src/heartbeat/stream-openings.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { device, type IngestFixture, ingestOn, records, stored, stream } from "./heartbeat-fixture.ts";

/**
 * Devices that keep to the contract (count up, send oldest first, resend what was not acknowledged after a reconnect)
 * against two replicas, in random schedules of repeats, disorder within batches, gaps, reconnects to either replica,
 * lost counters and lost connections to the database. The model is a set of numbers for each device and epoch.
 */
test("whatever devices do, each heartbeat is stored once and no acknowledged one is missing", async () => {
  await using database = await createTestDatabase();
  await using one = await ingestOn(database.url, { limits: { flushRows: 7 } });
  await using two = await ingestOn(database.url, { limits: { flushRows: 7 } });
  const replicas = [one, two] as const;

  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 30 }), async (steps) => {
      const devices = [new ModelDevice(replicas), new ModelDevice(replicas), new ModelDevice(replicas)];
      for (const { who, action } of steps) {
        const target = devices[who] as ModelDevice;
        switch (action.kind) {
          case "send":
            await target.send(action.count, action.repeat, action.shuffle);
            break;
          case "skip":
            target.skip(action.count);
            break;
          case "reconnect":
            await target.connect(action.replica);
            break;
          case "reset":
            await target.reset();
            break;
          case "cut":
            await cutConnections(one);
            break;
          case "settle":
            await target.settle();
            break;
        }
      }
      for (const target of devices) await target.finish();
    }),
    { numRuns: 30, endOnFailure: true },
  );
}, 120_000);

type Action =
  | { kind: "send"; count: number; repeat: number; shuffle: number }
  | { kind: "skip"; count: number }
  | { kind: "reconnect"; replica: number }
  | { kind: "reset" | "cut" | "settle" };

const small = fc.integer({ min: 1, max: 5 });

const step: fc.Arbitrary<{ who: number; action: Action }> = fc.record({
  who: fc.integer({ min: 0, max: 2 }),
  action: fc.oneof(
    {
      weight: 8,
      arbitrary: fc.record({
        kind: fc.constant("send" as const),
        count: small,
        repeat: fc.integer({ min: 0, max: 4 }),
        shuffle: fc.nat(),
      }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("skip" as const), count: small }) },
    {
      weight: 3,
      arbitrary: fc.record({
        kind: fc.constant("reconnect" as const),
        replica: fc.integer({ min: 0, max: 1 }),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({ kind: fc.constantFrom("reset" as const, "cut" as const, "settle" as const) }),
    },
  ),
});

class ModelDevice {
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
    this.#openings = replicas.map(({ pool }) => new StreamOpenings(pool));
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
    const opening = await untilOpen(() =>
      (this.#openings[replica] as StreamOpenings).open(this.#id, this.#epoch),
    );
    expect(opening.generation).toBeGreaterThan(this.#generation);
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
      expect(await stored(this.#replicas[0] as IngestFixture, this.#id, epoch)).toEqual(made);
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
          expect(rejected).toEqual([]);
          return this.#expectDurable(epoch, ackedThrough);
        },
        // Only the newest stream may go on; a stale epoch is that of a stream from before a reset.
        (error: unknown) =>
          expect(error).toMatchObject({ reason: expect.stringMatching(/SUPERSEDED|STALE/) }),
      ),
    );
  }

  /** Everything up to an acknowledged number is there. */
  async #expectDurable(epoch: number, through: number): Promise<void> {
    const expected = (this.#made.get(epoch) as number[]).filter((sequence) => sequence <= through);
    const found = await eventuallyStored(this.#replicas[1] as IngestFixture, this.#id, epoch);
    expect(found.filter((sequence) => sequence <= through)).toEqual(expected);
  }
}

/** The test's own queries may meet a connection that was cut as well. */
async function eventuallyStored(fixture: IngestFixture, id: string, epoch: number): Promise<number[]> {
  return await untilOpen(() => stored(fixture, id, epoch));
}

async function untilOpen<T>(attempt: () => Promise<T>): Promise<T> {
  for (let failures = 0; ; failures++) {
    try {
      return await attempt();
    } catch (error) {
      if (failures >= 10) throw error;
    }
  }
}

/** Ends the connections of the replicas, whatever they are doing. */
async function cutConnections({ pool }: IngestFixture): Promise<void> {
  await untilOpen(() =>
    pool.query(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
       WHERE datname = current_database() AND pid <> pg_backend_pid()`,
    ),
  );
}
