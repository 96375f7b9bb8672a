import { describe, expect, it } from "vitest";
import type { OpenUpdate } from "../model/open-update.ts";
import { nextTry } from "./next-try.ts";

const now = new Date("2026-01-01T00:00:00Z");
const minute = 60_000;

function update(attempt: number, other: Partial<OpenUpdate> = {}): OpenUpdate {
  return {
    deviceId: "device",
    id: "update",
    rolloutId: "rollout",
    ringId: "ring",
    firmwareId: "firmware",
    action: "INSTALL",
    state: "DOWNLOADING",
    fromVersion: "1.0.0",
    toVersion: "1.1.0",
    reportedVersions: [],
    fromBootId: "boot-1",
    crashCount: 0,
    offeredAtMs: now.getTime(),
    installingAtMs: undefined,
    provenAtMs: undefined,
    deadlineAtMs: now.getTime() + minute,
    taken: false,
    verificationMs: minute,
    crashLimit: 3,
    maxRetries: 10,
    retryBackoffMs: 10 * minute,
    deviceTimeoutMs: 60 * minute,
    returnMs: 5 * minute,
    missingSinceMs: undefined,
    attempt,
    notBeforeMs: undefined,
    securityCounter: 0,
    component: "",
    watchedBootId: undefined,
    ...other,
  };
}

const waitOf = (attempt: number, random = 0.5) =>
  (nextTry(update(attempt), now, "", { random: () => random })?.notBefore.getTime() ?? 0) - now.getTime();

describe("nextTry", () => {
  it("doubles the wait up to a day", () => {
    expect([1, 2, 3, 4].map((attempt) => waitOf(attempt) / minute)).toEqual([10, 20, 40, 80]);
    expect(waitOf(10)).toBe(24 * 60 * minute);
  });

  it("spreads devices that failed together by a quarter", () => {
    expect([0, 1].map((random) => waitOf(1, random) / minute)).toEqual([7.5, 12.5]);
  });

  it("gives the full time to prove the update after the wait", () => {
    const next = nextTry(update(1), now, "boot-2", { random: () => 0.5 });
    expect(next?.deadlineAt).toEqual(new Date(now.getTime() + 70 * minute));
    expect(next).toMatchObject({ fromBootId: "boot-2", rollback: false });
    expect(nextTry(update(1, { action: "ROLLBACK" }), now, "")?.rollback).toBe(true);
  });

  it("ends where the policy ends it", () => {
    expect(nextTry(update(1, { maxRetries: 0 }), now, "")).toBeUndefined();
    expect(nextTry(update(2, { maxRetries: 2 }), now, "")).toBeDefined();
    expect(nextTry(update(3, { maxRetries: 2 }), now, "")).toBeUndefined();
    expect(nextTry(update(3, { maxRetries: 2 }), now, "", { excused: true })).toBeDefined();
  });
});
