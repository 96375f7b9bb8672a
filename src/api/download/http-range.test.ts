import { expect, it } from "vitest";
import { byteRange, isKnown, rangeApplies } from "./http-range.ts";

it.each([
  [undefined, { kind: "whole" }],
  ["bytes=0-0", { kind: "part", offset: 0, length: 1 }],
  ["bytes=10-19", { kind: "part", offset: 10, length: 10 }],
  ["bytes=90-", { kind: "part", offset: 90, length: 10 }],
  ["bytes=90-1000", { kind: "part", offset: 90, length: 10 }],
  ["bytes=-10", { kind: "part", offset: 90, length: 10 }],
  ["bytes=-1000", { kind: "part", offset: 0, length: 100 }],
  ["bytes=100-", { kind: "unsatisfiable" }],
  ["bytes=-0", { kind: "unsatisfiable" }],
  ["bytes=5-4", { kind: "whole" }],
  ["bytes=0-1,5-6", { kind: "whole" }],
  ["bytes=0-1,100-", { kind: "part", offset: 0, length: 2 }],
  ["bytes=-", { kind: "whole" }],
  ["bytes", { kind: "whole" }],
  ["", { kind: "whole" }],
  ["bytes=0-1,x", { kind: "whole" }],
  [`bytes=0-${"9".repeat(400)}`, { kind: "part", offset: 0, length: 100 }],
  [`bytes=${"9".repeat(400)}-`, { kind: "unsatisfiable" }],
  ["lines=1-2", { kind: "whole" }],
])("of 100 bytes %s is %o", (header, expected) => {
  expect(byteRange(header, 100)).toEqual(expected);
});

it("serves no range of an empty content", () => {
  expect(byteRange("bytes=0-", 0)).toEqual({ kind: "unsatisfiable" });
});

it("serves an empty content whole to whoever wants the end of it", () => {
  expect(byteRange("bytes=-10", 0)).toEqual({ kind: "whole" });
});

it.each([
  ["blanks", `bytes=${" ".repeat(1_000_000)}x`],
  ["empty ranges", `bytes=${",".repeat(1_000_000)}`],
  ["ranges", `bytes=${"0-0,".repeat(250_000)}`],
  ["digits", `bytes=${"1".repeat(1_000_000)}`],
])("reads a million %s in linear time", (_what, header) => {
  const before = process.cpuUsage();
  byteRange(header, 100);
  // What backtracks takes hours.
  expect(process.cpuUsage(before).user / 1_000).toBeLessThan(1_000);
});

it("honours If-Range only for the same strong tag", () => {
  expect(rangeApplies(undefined, '"a"')).toBe(true);
  expect(rangeApplies('"a"', '"a"')).toBe(true);
  expect(rangeApplies('W/"a"', '"a"')).toBe(false);
  expect(rangeApplies("Sat, 01 Jan 2026 00:00:00 GMT", '"a"')).toBe(false);
});

it("compares If-None-Match weakly", () => {
  expect(isKnown('"x", W/"a"', '"a"')).toBe(true);
  expect(isKnown("*", '"a"')).toBe(true);
  expect(isKnown('"b"', '"a"')).toBe(false);
  expect(isKnown(undefined, '"a"')).toBe(false);
});
