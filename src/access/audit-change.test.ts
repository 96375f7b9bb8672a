import { expect, it } from "vitest";
import { fromTo } from "./audit-change.ts";

it.each([
  ["texts", "a", "b", "a", "b"],
  ["what was not there", undefined, null, "", ""],
  ["lists", ["a", "b"], [], "a,b", ""],
  ["metadata", { a: "1" }, {}, '{"a":"1"}', "{}"],
  ["numbers and flags", 7, true, "7", "true"],
  ["times", new Date(0), 0n, "1970-01-01T00:00:00.000Z", "0"],
  ["long texts", "x".repeat(2_000), "", `${"x".repeat(1_000)}…`, ""],
])("says of %s what they were and are", (_what, before, after, from, to) => {
  expect(fromTo("field", before, after)).toEqual({ from_field: from, to_field: to });
});
