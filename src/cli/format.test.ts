import { durationFromMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { describe, expect, it } from "vitest";
import { RolloutStateSchema } from "../../gen/ota/v1/rollout_pb.js";
import {
  agoText,
  bytesText,
  cleanText,
  countText,
  durationMsText,
  durationText,
  enumText,
  listText,
  percentText,
  timeText,
} from "./format.ts";

describe("cleanText", () => {
  it.each([
    ["a colour", "\u001b[31mred\u001b[0m", "red"],
    ["a window title", "a\u001b]0;owned\u0007b", "ab"],
    ["a lone escape", "a\u001bb", "ab"],
    ["C1 control sequences", "a\u009b31mb\u0085c", "abc"],
    ["a faked line", "ok\r\nadmin logged in", "ok admin logged in"],
    ["a carriage return that overwrites", "failed\rok", "failed ok"],
    ["NUL and backspace", "a\u0000b\u0008c", "abc"],
    ["a directional override", "abc\u202egnp.exe", "abcgnp.exe"],
    ["line separators", "a\u2028b\u2029c", "a b c"],
  ])("takes %s out", (_what, text, expected) => {
    expect(cleanText(text)).toBe(expected);
  });

  it("keeps text of any language", () => {
    expect(cleanText("Gerät 温度 ≥ 20 °C ✓")).toBe("Gerät 温度 ≥ 20 °C ✓");
  });
});

describe("enumText", () => {
  it("writes a value in words", () => {
    expect(enumText(RolloutStateSchema, 4)).toBe("rolling back");
  });

  it("writes the number of a value that a newer service made", () => {
    expect(enumText(RolloutStateSchema, 99)).toBe("99");
  });
});

describe("times", () => {
  const noon = Date.UTC(2026, 6, 1, 12, 0, 5);

  it("writes moments in UTC without fractions", () => {
    expect(timeText(timestampFromMs(noon + 250))).toBe("2026-07-01 12:00:05Z");
    expect(timeText(undefined)).toBe("-");
  });

  it.each([
    [500, "now"],
    [5000, "5 s ago"],
    [119_000, "1 min ago"],
    [7_200_000, "2 h ago"],
    [-90_000_000, "in 1 d"],
  ])("writes a moment %d ms before as %s", (ms, expected) => {
    expect(agoText(timestampFromMs(noon - ms), noon)).toBe(expected);
  });

  it.each([
    [0, "0 ms"],
    [999, "999 ms"],
    [1000, "1 s"],
    [2540, "2.5 s"],
    [300_000, "5 min"],
    [5_400_000, "1 h 30 min"],
    [172_800_000, "2 d"],
  ])("writes %d ms as %s", (ms, expected) => {
    expect(durationMsText(ms)).toBe(expected);
  });

  it("writes an unset duration as a dash", () => {
    expect(durationText(undefined)).toBe("-");
    expect(durationText(durationFromMs(10_000))).toBe("10 s");
  });
});

describe("numbers", () => {
  it.each([
    [0n, "0 B"],
    [1023, "1023 B"],
    [4_194_304n, "4.0 MiB"],
    [1_610_612_736, "1.5 GiB"],
  ])("writes %s bytes as %s", (bytes, expected) => {
    expect(bytesText(bytes)).toBe(expected);
  });

  it("writes percentages without needless zeros", () => {
    expect(percentText(5)).toBe("5 %");
    expect(percentText(12.5)).toBe("12.5 %");
    expect(percentText(100)).toBe("100 %");
  });

  it("counts in singular and plural", () => {
    expect(countText(1n, "device")).toBe("1 device");
    expect(countText(2, "device")).toBe("2 devices");
  });

  it("joins lists, and shows that there is nothing", () => {
    expect(listText(["a", "b\u001b[2J"])).toBe("a, b");
    expect(listText([])).toBe("-");
  });
});
