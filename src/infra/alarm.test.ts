import { expect, test } from "vitest";
import { Alarm } from "./alarm.ts";

const anHourMs = 3_600_000;

test("a bell ends the present wait, and one that nobody heard ends the next", async () => {
  const alarm = new Alarm();
  const waiting = alarm.wait(anHourMs, new AbortController().signal);
  alarm.ring();
  await waiting;
  alarm.ring();
  await expect(alarm.wait(anHourMs, new AbortController().signal)).resolves.toBeUndefined();
});

test("the signal ends a wait without an error, also if it had aborted before", async () => {
  const controller = new AbortController();
  const waiting = new Alarm().wait(anHourMs, controller.signal);
  controller.abort();
  await expect(waiting).resolves.toBeUndefined();
  await expect(new Alarm().wait(anHourMs, controller.signal)).resolves.toBeUndefined();
});

test("times beyond what a timer can hold do not end at once", async () => {
  let over = false;
  const controller = new AbortController();
  const waiting = new Alarm().wait(Number.POSITIVE_INFINITY, controller.signal).then(() => {
    over = true;
  });
  await new Alarm().wait(20, controller.signal);
  expect(over).toBe(false);
  controller.abort();
  await waiting;
});
