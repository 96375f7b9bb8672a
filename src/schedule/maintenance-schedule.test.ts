import { describe, expect, it } from "vitest";
import { MaintenanceSchedule } from "./maintenance-schedule.ts";

const hourMs = 3_600_000;

function schedule(start: string, hours: number, timeZone: string, weekdays: number[] = []) {
  return new MaintenanceSchedule([{ weekdays, start, durationMs: hours * hourMs, timeZone }]);
}

function isOpen(windows: MaintenanceSchedule, time: string, zone?: string): boolean {
  return windows.at(Date.parse(time), zone).open;
}

describe("a maintenance window", () => {
  it("opens and closes on the wall clock, in winter and in summer", () => {
    const berlin = schedule("02:00", 2, "Europe/Berlin");
    expect(isOpen(berlin, "2026-01-10T00:59:59Z")).toBe(false);
    expect(isOpen(berlin, "2026-01-10T01:00:00Z")).toBe(true);
    expect(isOpen(berlin, "2026-01-10T02:59:59Z")).toBe(true);
    expect(isOpen(berlin, "2026-01-10T03:00:00Z")).toBe(false);
    expect(isOpen(berlin, "2026-07-10T00:00:00Z")).toBe(true);
    expect(isOpen(berlin, "2026-07-10T02:00:00Z")).toBe(false);
  });

  it("says when that changes", () => {
    const berlin = schedule("02:00", 2, "Europe/Berlin");
    const at = (time: string) => new Date(berlin.at(Date.parse(time), undefined).changesAtMs).toISOString();
    expect(at("2026-01-10T00:00:00Z")).toBe("2026-01-10T01:00:00.000Z");
    expect(at("2026-01-10T01:30:00Z")).toBe("2026-01-10T03:00:00.000Z");
  });

  it("begins where the clock goes on when its time is skipped, and lasts as long as ever", () => {
    // On the 29th of March 2026, 02:00 became 03:00 in Berlin.
    const berlin = schedule("02:30", 1, "Europe/Berlin");
    expect(isOpen(berlin, "2026-03-29T01:29:59Z")).toBe(false);
    expect(isOpen(berlin, "2026-03-29T01:30:00Z")).toBe(true);
    expect(isOpen(berlin, "2026-03-29T02:30:00Z")).toBe(false);
  });

  it("begins once when its time comes twice", () => {
    // On the 25th of October 2026, 03:00 became 02:00 in Berlin.
    const berlin = schedule("02:30", 0.5, "Europe/Berlin");
    expect(isOpen(berlin, "2026-10-25T00:30:00Z")).toBe(true);
    expect(isOpen(berlin, "2026-10-25T01:30:00Z")).toBe(false);
  });

  it("begins on its weekdays, and may reach into the next day", () => {
    const sunday = schedule("23:00", 3, "", [7]);
    expect(isOpen(sunday, "2026-03-01T23:00:00Z")).toBe(true);
    expect(isOpen(sunday, "2026-03-02T01:59:00Z")).toBe(true);
    expect(isOpen(sunday, "2026-03-02T23:30:00Z")).toBe(false);
  });

  it("goes by the device's time zone, if that is one", () => {
    const utc = schedule("12:00", 1, "UTC");
    expect(isOpen(utc, "2026-01-10T12:30:00Z", "Asia/Tokyo")).toBe(false);
    expect(isOpen(utc, "2026-01-10T03:30:00Z", "Asia/Tokyo")).toBe(true);
    expect(isOpen(utc, "2026-01-10T12:30:00Z", "Mars/Olympus")).toBe(true);
  });

  it("is open all the time if it lasts a day, also when a day has 25 hours", () => {
    const always = schedule("00:00", 24, "Europe/Berlin");
    for (let hour = 0; hour < 72; hour++) {
      const time = new Date(Date.parse("2026-03-28T00:00:00Z") + hour * hourMs).toISOString();
      expect(isOpen(always, time)).toBe(true);
    }
  });
});
