import { timestampMs } from "@bufbuild/protobuf/wkt";
import { InvalidArgumentError } from "commander";
import { describe, expect, it } from "vitest";
import { Role } from "../../gen/ota/v1/access_pb.js";
import { RolloutState } from "../../gen/ota/v1/rollout_pb.js";
import {
  collectList,
  collectNames,
  collectPairs,
  collectShares,
  parseBytes,
  parseCount,
  parseDurationMs,
  parseEnumValue,
  parsePercent,
  parseRings,
  parseRole,
  timeFrom,
} from "./parse.ts";

describe("parseDurationMs", () => {
  it.each([
    ["250ms", 250],
    ["90s", 90_000],
    ["5m", 300_000],
    ["5min", 300_000],
    ["1h30m", 5_400_000],
    ["0.5s", 500],
    ["2d", 172_800_000],
  ])("reads %s", (text, expected) => {
    expect(parseDurationMs(text)).toBe(expected);
  });

  it.each(["", "5", "5 m", "m5", "5x", "-5s", "5s!", "1h30"])("refuses %j", (text) => {
    expect(() => parseDurationMs(text)).toThrow(InvalidArgumentError);
  });
});

describe("timeFrom", () => {
  const nowMs = Date.UTC(2026, 0, 1);

  it.each([
    ["2026-12-31", Date.UTC(2026, 11, 31)],
    ["2026-12-31T12:00:00Z", Date.UTC(2026, 11, 31, 12)],
    ["2026-12-31T12:00:00+02:00", Date.UTC(2026, 11, 31, 10)],
    ["30d", Date.UTC(2026, 0, 31)],
  ])("reads %s", (text, expected) => {
    expect(timestampMs(timeFrom(text, nowMs))).toBe(expected);
  });

  it.each(["tomorrow", "2026-13-01", "31.12.2026", ""])("refuses %j", (text) => {
    expect(() => timeFrom(text, nowMs)).toThrow(InvalidArgumentError);
  });
});

describe("numbers", () => {
  it.each([
    ["1048576", 1_048_576n],
    ["500KB", 500_000n],
    ["4MiB", 4_194_304n],
    ["1.5gib", 1_610_612_736n],
  ])("reads the size %s", (text, expected) => {
    expect(parseBytes(text)).toBe(expected);
  });

  it.each(["", "4XB", "-1", "MiB"])("refuses the size %j", (text) => {
    expect(() => parseBytes(text)).toThrow(InvalidArgumentError);
  });

  it("reads whole numbers within limits only", () => {
    const parse = parseCount(1, 10);
    expect(parse("10")).toBe(10);
    for (const text of ["0", "11", "1.5", "1e1", "-1", ""])
      expect(() => parse(text)).toThrow(InvalidArgumentError);
  });

  it("reads percentages with and without the sign", () => {
    expect(parsePercent("12.5")).toBe(12.5);
    expect(parsePercent("100%")).toBe(100);
    for (const text of ["101", "-1", "5%%", "NaN", ""])
      expect(() => parsePercent(text)).toThrow(InvalidArgumentError);
  });
});

describe("collections", () => {
  it("joins repeated and comma-separated names", () => {
    expect(collectList("a, b", collectList("c"))).toEqual(["c", "a", "b"]);
    expect(() => collectList(",")).toThrow(InvalidArgumentError);
  });

  it("takes a comma behind a backslash as part of a name", () => {
    expect(collectNames(String.raw`toradex\,verdin-imx8mp, NVIDIA Jetson AGX Orin (64GB)`, ["a"])).toEqual([
      "a",
      "toradex,verdin-imx8mp",
      "NVIDIA Jetson AGX Orin (64GB)",
    ]);
    expect(() => collectNames(",")).toThrow(InvalidArgumentError);
  });

  it("keeps further equal signs in a value", () => {
    expect(collectPairs("url=http://x/?a=b", { k: "v" })).toEqual({ k: "v", url: "http://x/?a=b" });
    expect(() => collectPairs("=v")).toThrow(InvalidArgumentError);
  });

  it("reads shares by version", () => {
    expect(collectShares("1.2.0=0.33", { "1.1.0": 1 })).toEqual({ "1.1.0": 1, "1.2.0": 0.33 });
    for (const text of ["1.2.0", "1.2.0=", "1.2.0=2", "=0.5"]) {
      expect(() => collectShares(text)).toThrow(InvalidArgumentError);
    }
  });

  it("reads rings in order", () => {
    expect(parseRings("canary=5,all=100%")).toEqual([
      { name: "canary", percent: 5 },
      { name: "all", percent: 100 },
    ]);
    expect(parseRings("canary=10devices,early=1 device,all=100%")).toEqual([
      { name: "canary", devices: 10 },
      { name: "early", devices: 1 },
      { name: "all", percent: 100 },
    ]);
    for (const text of ["a=0devices", "a=1.5devices", "a=-1devices"])
      expect(() => parseRings(text)).toThrow(InvalidArgumentError);
    for (const text of ["canary", "=5", "a=5=6", "a=500"])
      expect(() => parseRings(text)).toThrow(InvalidArgumentError);
  });
});

describe("names of values", () => {
  it("reads roles", () => {
    expect(parseRole("Admin")).toBe(Role.ADMIN);
    expect(() => parseRole("root")).toThrow(/viewer, operator or admin/);
  });

  it("reads states, several at once, with dashes or underscores", () => {
    const parse = parseEnumValue(RolloutState);
    expect(parse("running,rolling-back", [RolloutState.PAUSED])).toEqual([
      RolloutState.PAUSED,
      RolloutState.RUNNING,
      RolloutState.ROLLING_BACK,
    ]);
    expect(() => parse("unspecified")).toThrow(/rolled-back/);
  });
});
