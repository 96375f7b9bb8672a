import { expect, it } from "vitest";
import { relativeTime } from "./time.tsx";

const now = new Date("2026-05-01T12:00:00Z");

it.each([
  ["2026-05-01T11:59:55Z", /now/],
  ["2026-05-01T11:59:30Z", /30 sec/],
  ["2026-05-01T11:57:10Z", /2 min/],
  ["2026-05-01T07:00:00Z", /5 h/],
  ["2026-04-28T11:00:00Z", /3 day/],
  ["2026-05-01T14:30:00Z", /in 2 h/],
])("%s is told as %s", (time, words) => {
  expect(relativeTime(new Date(time), now)).toMatch(words);
});
