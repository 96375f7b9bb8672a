import { expect, it } from "vitest";
import { returnTime } from "./return-time.ts";

const minute = 60_000;
const day = 24 * 60 * minute;

it.each([
  ["what the policy says", 7 * minute, day, 7 * minute],
  ["five of its intervals", null, 2 * minute, 10 * minute],
  ["five days of a device that beats once a day", null, day, 5 * day],
  ["five minutes at least", null, 1_000, 5 * minute],
])("a device may be silent for %s", (_, policyMs, expectedIntervalMs, ms) => {
  expect(returnTime(policyMs, expectedIntervalMs)).toBe(ms);
});
