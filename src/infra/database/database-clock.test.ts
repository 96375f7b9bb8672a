import { expect, it } from "vitest";
import { FakeClock } from "../../../test/support/fake-clock.ts";
import { createLogger } from "../logger.ts";
import { DatabaseClock } from "./database-clock.ts";

const hour = 3_600_000;
const logger = createLogger({ level: "silent", pretty: false });

/** A machine, and a database of another machine, whose clock is `apartMs` ahead. */
async function scene(apartMs: number) {
  const machine = new FakeClock("2026-06-01T00:00:00Z");
  const database = new FakeClock(new Date(machine.now().getTime() + apartMs));
  const line = { questionMs: 0, answerMs: 0 };
  const pass = (ms: number): void => {
    machine.advance(ms);
    database.advance(ms);
  };
  const pool = {
    query: async <Row>() => {
      pass(line.questionMs);
      const row = { ms: database.now().getTime() };
      pass(line.answerMs);
      return [row as Row];
    },
    run: async () => 0,
  };
  const clock = await DatabaseClock.start({ pool, machine, logger });
  const errorMs = () => clock.now().getTime() - database.now().getTime();
  return { clock, machine, database, line, pass, errorMs, [Symbol.asyncDispose]: () => clock.round.close() };
}

it.each([-hour, 0, 24 * hour])(
  "shows the database's time on a machine that differs by %d ms",
  async (apartMs) => {
    await using them = await scene(apartMs);
    them.pass(10_500);
    expect(them.errorMs()).toBe(0);
    expect(them.clock.machineAheadMs).toBe(0 - apartMs);
  },
);

it("is not moved by a step of the machine's clock, and goes on while the database is not asked", async () => {
  await using them = await scene(0);
  them.machine.setWallClock("2027-01-01T00:00:00Z");
  expect(them.errorMs()).toBe(0);
  await them.clock.round.run();
  them.pass(hour);
  expect(them.errorMs()).toBe(0);
});

it("follows when the database's clock is set, and after the machine has slept", async () => {
  await using them = await scene(0);
  them.database.setWallClock("2026-05-31T23:00:00Z");
  await them.clock.round.run();
  expect(them.errorMs()).toBe(0);
  them.machine.sleep(hour);
  them.database.advance(hour);
  await them.clock.round.run();
  expect(them.errorMs()).toBe(0);
});

it("is not moved by answers that come late, either way", async () => {
  await using them = await scene(0);
  them.line.questionMs = 30_000;
  await them.clock.round.run();
  expect(them.errorMs()).toBe(0);
  Object.assign(them.line, { questionMs: 0, answerMs: 30_000 });
  await them.clock.round.run();
  expect(them.errorMs()).toBe(0);
});
