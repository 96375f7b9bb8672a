import { describe, expect, it } from "vitest";
import { bytes, count, counted, duration, percent } from "./format.ts";

describe("figures for people", () => {
  it("group digits and know one from many", () => {
    expect(count(1_234_567n)).toBe("1,234,567");
    expect([counted(1, "device"), counted(2n, "device"), counted(0, "reply", "replies")]).toEqual([
      "1 device",
      "2 devices",
      "0 replies",
    ]);
  });

  it("give sizes in binary units with three figures", () => {
    expect([0, 1_023, 1_024, 3_000_000, 17_179_869_184n].map(bytes)).toEqual([
      "0 B",
      "1023 B",
      "1.00 KiB",
      "2.86 MiB",
      "16.0 GiB",
    ]);
  });

  it("give times in their two largest units", () => {
    expect([0, 59, 90, 5_400, 90_061].map(duration)).toEqual([
      "0 s",
      "59 s",
      "1 min 30 s",
      "1 h 30 min",
      "1 d 1 h",
    ]);
    expect(duration(undefined)).toBe("—");
    expect(duration({ $typeName: "google.protobuf.Duration", seconds: 300n, nanos: 0 })).toBe("5 min");
  });

  it("give shares with at most two decimals", () => {
    expect([100, 12.5, 0.123].map(percent)).toEqual(["100 %", "12.5 %", "0.12 %"]);
  });
});
