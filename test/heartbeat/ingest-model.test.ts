import fc from "fast-check";
import { expect, test } from "vitest";
import { createTestDatabase } from "../support/postgres.ts";
import { type IngestFixture, ingestOn } from "./heartbeat-fixture.ts";
import { ModelDevice, untilConnected } from "./model-device.ts";

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

  const run = fc.assert(
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
  await expect(run).resolves.toBeUndefined();
});

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

/** Ends the connections of the replicas, whatever they are doing. */
async function cutConnections({ pool }: IngestFixture): Promise<void> {
  await untilConnected(() =>
    pool.query(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
       WHERE datname = current_database() AND pid <> pg_backend_pid()`,
    ),
  );
}
