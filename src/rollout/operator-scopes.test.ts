import { describe, expect, it } from "vitest";
import { devicesOf, narrowedFilter } from "../call/scope.ts";
import { parseDeviceFilter } from "../device/filter/device-filter.ts";
import { implies } from "./operator-scopes.ts";

const limits = [
  'groups:"berlin"',
  'groups:"berlin" OR tags:"lab"',
  'device_type = "a" AND firmware_version < 2.0.0',
  devicesOf({ products: ["p.1", "q-2"], deviceFilter: "NOT presence = OFFLINE" }),
];

const filters = [
  "",
  "  ",
  "lobby",
  'battery_percent < 20 OR groups:"munich"',
  // What tries to close the brackets that the limit stands in.
  'serial_number = "x") OR (serial_number:*',
  "serial_number:*) OR serial_number:* OR (serial_number:*",
  "a) AND NOT (b",
  ") OR (",
  'a") OR (serial_number:* OR serial_number = "',
  "a) (b",
  "-(a",
];

describe("a filter narrowed to a limit", () => {
  it.each(limits.flatMap((limit) => filters.map((filter) => [limit, filter] as const)))(
    "%s by %s finds nothing beyond it, or is no filter",
    (limit, filter) => {
      const narrowed = parsed(narrowedFilter(limit, filter));
      const isFaulty = narrowed === undefined && parsed(filter) === undefined;
      expect(isFaulty || (narrowed !== undefined && implies(narrowed, parseDeviceFilter(limit)))).toBe(true);
    },
  );
});

describe("implies", () => {
  it.each([
    ["a AND b", "a", true],
    ["(a AND c) AND b", "a AND b", true],
    ["a", "", true],
    ["", "a", false],
    ["a OR b", "a", false],
    ["NOT a", "a", false],
    ['groups:"berlin" OR tags:"lab"', 'groups:"berlin"', false],
    ["battery_percent < 10", "battery_percent < 20", false],
  ])("%j has the conditions of %j: %s", (filter, limit, expected) => {
    expect(implies(parseDeviceFilter(filter), parseDeviceFilter(limit))).toBe(expected);
  });
});

function parsed(text: string) {
  try {
    return parseDeviceFilter(text);
  } catch {
    return undefined;
  }
}
