import { describe, expect, it } from "vitest";
import { assumedOutageMs, OutageLog } from "./outage-log.ts";

const minute = 60_000;

function log(): OutageLog {
  return new OutageLog(4 * minute, 0);
}

describe("OutageLog", () => {
  it("leaves a deadline alone when nothing happened", () => {
    expect(log().extended(minute, 60 * minute, 60 * minute)).toBe(60 * minute);
  });

  it("lets no deadline pass in the grace period after the start", () => {
    expect(log().extended(-60 * minute, minute, minute)).toBe(4 * minute);
  });

  it("adds an outage's length", () => {
    const outages = log();
    for (let at = 10; at <= 30; at++) outages.failed("database", at * minute);
    outages.worked("database", 30 * minute);
    expect(outages.extended(5 * minute, 60 * minute, 70 * minute)).toBe(80 * minute);
  });

  it("counts only the part of an outage that the update was open in", () => {
    const outages = log();
    for (let at = 10; at <= 20; at++) outages.failed("object_store", at * minute);
    outages.worked("object_store", 20 * minute);
    expect(outages.extended(15 * minute, 60 * minute, 70 * minute)).toBe(65 * minute);
    expect(outages.extended(25 * minute, 60 * minute, 70 * minute)).toBe(60 * minute);
  });

  it("counts two outages at the same time once", () => {
    const outages = log();
    for (let at = 10; at <= 20; at++) {
      outages.failed("object_store", at * minute);
      outages.failed("database", at * minute);
    }
    outages.worked("object_store", 20 * minute);
    outages.worked("database", 20 * minute);
    expect(outages.extended(0, 60 * minute, 70 * minute)).toBe(70 * minute);
  });

  it("holds a deadline back while an outage lasts, and for the grace period after it", () => {
    const outages = log();
    for (let at = 58; at <= 62; at++) outages.failed("database", at * minute);
    expect(outages.extended(0, 60 * minute, 62 * minute)).toBeGreaterThan(62 * minute);
    outages.worked("database", 62 * minute);
    expect(outages.extended(0, 60 * minute, 65 * minute)).toBe(66 * minute);
  });

  it("does not believe that a source which nobody asks stays away", () => {
    const outages = log();
    outages.failed("object_store", 10 * minute);
    expect(outages.extended(0, 60 * minute, 60 * minute)).toBe(60 * minute + assumedOutageMs);
  });
});

describe("touched", () => {
  it("tells what fell into an outage from what did not", () => {
    const log = new OutageLog(0, 0);
    expect(log.touched(0, 1_000)).toBe(false);
    log.failed("object_store", 10_000);
    log.worked("object_store", 20_000);
    expect(log.touched(0, 9_000)).toBe(false);
    expect(log.touched(0, 10_500)).toBe(true);
    expect(log.touched(15_000, 30_000)).toBe(true);
    expect(log.touched(21_000, 30_000)).toBe(false);
    log.failed("database", 40_000);
    expect(log.touched(30_000, 41_000)).toBe(true);
  });

  it("touches what happens in the very moment in which it is noticed, and the start touches nothing", () => {
    const outages = log();
    expect(outages.touched(0, 0)).toBe(false);
    outages.failed("object_store", 5 * minute);
    expect(outages.touched(minute, 5 * minute)).toBe(true);
    expect(outages.touched(minute, 5 * minute - 1)).toBe(false);
    outages.worked("object_store", 5 * minute);
    expect(outages.touched(minute, 5 * minute)).toBe(true);
    expect(outages.touched(6 * minute, 7 * minute)).toBe(false);
  });
});
