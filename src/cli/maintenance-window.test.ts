import { describe, expect, it } from "vitest";
import { collectWindows } from "./maintenance-window.ts";

describe("collectWindows", () => {
  it.each([
    ["02:00+4h", { weekdays: [], start: "02:00", timeZone: "" }],
    ["sat,SUN 02:00+4h", { weekdays: [6, 7], start: "02:00", timeZone: "" }],
    ["monday 23:30+90m Europe/Berlin", { weekdays: [1], start: "23:30", timeZone: "Europe/Berlin" }],
  ])("reads %s", (text, window) => {
    expect(collectWindows(text)).toMatchObject([window]);
  });

  it("adds to the ones before", () => {
    expect(collectWindows("03:00+1h", collectWindows("02:00+1h"))).toHaveLength(2);
  });

  it.each(["02:00", "2+4h", "xyz 02:00+4h", ""])("refuses %j", (text) => {
    expect(() => collectWindows(text)).toThrow(/window is written|no weekday/);
  });
});
