import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { FakeClock } from "../../../test/support/fake-clock.ts";
import { createLogger } from "../logger.ts";
import { Background } from "./background.ts";
import { Round, type RoundOptions } from "./round.ts";

const clock = new FakeClock("2026-06-01T00:00:00Z");
const logger = createLogger({ level: "silent", pretty: false });

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

/** A round that was begun, and how often it ran. */
function begun(options: Partial<RoundOptions> = {}) {
  const work = vi.fn<(signal: AbortSignal) => Promise<void>>(async () => undefined);
  const round = new Round({ name: "test", everyMs: 1_000, work, clock, logger, ...options });
  round.start();
  return { round, work };
}

test("a round waits its time before the first run and between runs", async () => {
  const { round, work } = begun();
  await vi.advanceTimersByTimeAsync(999);
  expect(work).toHaveBeenCalledTimes(0);
  await vi.advanceTimersByTimeAsync(2_001);
  expect(work).toHaveBeenCalledTimes(3);
  await round.close();
  await vi.advanceTimersByTimeAsync(5_000);
  expect(work).toHaveBeenCalledTimes(3);
});

test("a round may begin at once, and wait longer after a failure", async () => {
  const work = vi.fn<() => Promise<void>>(async () => {
    throw new Error("away");
  });
  const { round } = begun({ atOnce: true, afterFailureMs: 5_000, work });
  await vi.advanceTimersByTimeAsync(0);
  expect(work).toHaveBeenCalledTimes(1);
  await vi.advanceTimersByTimeAsync(4_999);
  expect(work).toHaveBeenCalledTimes(1);
  await vi.advanceTimersByTimeAsync(1);
  expect(work).toHaveBeenCalledTimes(2);
  await round.close();
});

test("a run that is asked for comes sooner, and none comes twice", async () => {
  const { round, work } = begun();
  round.soon(100);
  round.soon(200);
  await vi.advanceTimersByTimeAsync(100);
  expect(work).toHaveBeenCalledTimes(1);
  await vi.advanceTimersByTimeAsync(999);
  expect(work).toHaveBeenCalledTimes(1);
  await vi.advanceTimersByTimeAsync(1);
  expect(work).toHaveBeenCalledTimes(2);
  await round.close();
});

test("runs never overlap: what is asked for meanwhile comes after", async () => {
  const held = Promise.withResolvers<void>();
  const { round, work } = begun();
  work.mockImplementationOnce(() => held.promise);
  const first = round.run();
  expect(round.run()).toBe(first);
  round.soon(10);
  await vi.advanceTimersByTimeAsync(10_000);
  expect(work).toHaveBeenCalledTimes(1);
  held.resolve();
  await first;
  await vi.advanceTimersByTimeAsync(10);
  expect(work).toHaveBeenCalledTimes(2);
  await round.close();
});

test("closing tells the run that is under way and waits for it; what ends so has not failed", async () => {
  const { round } = begun({
    work: (signal) =>
      new Promise((_resolve, reject) =>
        signal.addEventListener("abort", () => reject(signal.reason as Error)),
      ),
  });
  const running = round.run();
  await round.close();
  await running;
  expect(round.log.failed).toBe(0);
  await round.run();
  expect(round.log.succeeded).toBe(1);
});

test("the log says when it ran, how long, and how it ended", async () => {
  const work = vi.fn<() => Promise<void>>(async () => {
    clock.advance(250);
  });
  const { round } = begun({ work });
  const before = clock.now();
  await round.run();
  expect(round.log).toMatchObject({
    succeeded: 1,
    failed: 0,
    lastRun: before,
    lastSuccess: clock.now(),
    lastFailure: undefined,
    lastDurationMs: 250,
  });
  work.mockImplementationOnce(async () => {
    throw new Error("away");
  });
  await round.run();
  expect(round.log).toMatchObject({ succeeded: 1, failed: 1, lastFailure: clock.now() });
  await round.close();
});

test("failures with the same words are logged once, and so is their end", async () => {
  const lines: { level: number; msg: string; err?: { message: string } }[] = [];
  const work = vi.fn<() => Promise<void>>(async () => undefined);
  const fail = (words: string) => async () => {
    throw new Error(words);
  };
  work
    .mockImplementationOnce(fail("away"))
    .mockImplementationOnce(fail("away"))
    .mockImplementationOnce(fail("disk full"));
  const { round } = begun({
    work,
    logger: createLogger({
      level: "info",
      pretty: false,
      destination: { write: (line: string) => void lines.push(JSON.parse(line)) },
    }),
  });
  for (let count = 0; count < 5; count++) await round.run();
  await round.close();
  expect(lines.map(({ msg, err }) => err?.message ?? msg)).toEqual([
    "away",
    "disk full",
    "background work goes on",
  ]);
});

test("the background closes the newest first, and every name once", async () => {
  const background = new Background({ clock, logger });
  const closed: string[] = [];
  const named = (name: string) => {
    const { log } = new Round({ name, work: () => undefined, clock, logger });
    return { log, close: async () => void closed.push(name) };
  };
  background.add(named("first"));
  background.add(named("second"));
  expect(() => background.add(named("first"))).toThrow("two works are called first");
  expect(background.logs.map(({ name }) => name)).toEqual(["first", "second"]);
  await background[Symbol.asyncDispose]();
  expect(closed).toEqual(["second", "first"]);
});
