import { describe, expect, it } from "vitest";
import type { DurableHeartbeat } from "../../device/state/heartbeat-record.ts";
import type { OpenUpdate } from "../model/open-update.ts";
import { judgeHeartbeat } from "./evidence.ts";

const start = Date.UTC(2026, 0, 1);
const minute = 60_000;

/** Time that just passes. */
const steady = {
  between: (from: Date | number, to: Date | number = start) => Number(to) - Number(from),
  elapsed: (from: Date | number, to: Date | number = start) => Number(to) - Number(from),
};

function judge(open: OpenUpdate, record: DurableHeartbeat, time = steady) {
  return judgeHeartbeat(open, record, time);
}

function update(other: Partial<OpenUpdate> = {}): OpenUpdate {
  return {
    deviceId: "device",
    id: "update",
    rolloutId: "rollout",
    ringId: "ring",
    firmwareId: "firmware",
    action: "INSTALL",
    state: "REBOOTING",
    fromVersion: "1.0.0",
    toVersion: "1.1.0",
    reportedVersions: [],
    fromBootId: "a",
    offeredAtMs: start,
    installingAtMs: start,
    provenAtMs: undefined,
    deadlineAtMs: start + 60 * minute,
    verificationMs: 5 * minute,
    crashLimit: 3,
    crashCount: 0,
    taken: true,
    watchedBootId: undefined,
    maxRetries: 0,
    retryBackoffMs: 60_000,
    deviceTimeoutMs: 3_600_000,
    returnMs: 300_000,
    missingSinceMs: undefined,
    attempt: 1,
    notBeforeMs: undefined,
    securityCounter: 0,
    component: "",
    ...other,
  };
}

function beat(
  firmwareVersion: string,
  bootId: string,
  other: Partial<DurableHeartbeat> = {},
): DurableHeartbeat {
  return {
    deviceId: "device",
    epoch: 1,
    sequence: 1,
    receivedAt: new Date(start + minute),
    firmwareVersion,
    bootId,
    uptimeMs: 10_000,
    securityCounter: 0,
    errors: [],
    metrics: undefined,
    ...other,
  };
}

const crash = { code: "SIGSEGV", severity: "CRITICAL", message: "", stack: "", fatal: true } as const;
const warning = { ...crash, fatal: false };

describe("an install", () => {
  it.each([
    ["the new version in another boot proves it", update(), beat("1.1.0", "b"), { kind: "proven" }],
    ["so does one of equal precedence", update(), beat("v1.1.0+git.abc", "b"), { kind: "proven" }],
    [
      "and a text under which devices report it",
      update({ reportedVersions: ["2024.08.1", "34105904"] }),
      beat("34105904", "b"),
      { kind: "proven" },
    ],
    [
      "no other text",
      update({ reportedVersions: ["2024.08.1"] }),
      beat("2024.08.01", "b"),
      { kind: "reverted", version: "2024.08.01" },
    ],
    ["the new version in the same boot does not", update(), beat("1.1.0", "a"), { kind: "none" }],
    [
      "any boot does if the one before is unknown",
      update({ fromBootId: "" }),
      beat("1.1.0", "a"),
      { kind: "proven" },
    ],
    [
      "a device that never reported can prove it",
      update({ state: "OFFERED", taken: false, installingAtMs: undefined }),
      beat("1.1.0", "b"),
      { kind: "proven" },
    ],
    ["the old version in the same boot says nothing", update(), beat("1.0.0", "a"), { kind: "none" }],
    [
      "the old version in another boot is a return",
      update(),
      beat("1.0.0", "b"),
      { kind: "reverted", version: "1.0.0" },
    ],
    ["a third version is a return too", update(), beat("9.0.0", "b"), { kind: "reverted", version: "9.0.0" }],
    [
      "a reboot before it began to install is not",
      update({ state: "DOWNLOADED", taken: false, installingAtMs: undefined }),
      beat("1.0.0", "b"),
      { kind: "none" },
    ],
    [
      "nor is a boot that began before that",
      update(),
      beat("1.0.0", "b", { uptimeMs: 5 * minute }),
      { kind: "none" },
    ],
    ["what comes late proves nothing", update(), beat("1.1.0", "b", { backlog: true }), { kind: "none" }],
    ["and fails nothing", update(), beat("1.0.0", "b", { backlog: true }), { kind: "none" }],
    [
      "errors in the first heartbeat are not counted",
      update(),
      beat("1.1.0", "b", { errors: [crash] }),
      { kind: "proven" },
    ],
  ] as const)("%s", (_, open, record, evidence) => {
    expect(judge(open, record)).toEqual(evidence);
  });
});

describe("a proven install", () => {
  const watched = (other: Partial<OpenUpdate> = {}) =>
    update({
      state: "VERIFYING",
      watchedBootId: "b",
      provenAtMs: start,
      verificationMs: 2 * minute,
      ...other,
    });
  const later = { receivedAt: new Date(start + 2 * minute) };

  it.each([
    ["waits for the end of the watch", watched(), beat("1.1.0", "b"), { kind: "none" }],
    ["is verified by a heartbeat then", watched(), beat("1.1.0", "b", later), { kind: "verified" }],
    [
      "is not verified by one with a crash",
      watched(),
      beat("1.1.0", "b", { ...later, errors: [crash] }),
      { kind: "crashed", crashCount: 1 },
    ],
    ["counts reboots", watched(), beat("1.1.0", "c"), { kind: "crashed", crashCount: 1 }],
    [
      "counts a crash that rebooted once",
      watched(),
      beat("1.1.0", "c", { errors: [crash] }),
      { kind: "crashed", crashCount: 1 },
    ],
    [
      "counts each crash",
      watched(),
      beat("1.1.0", "b", { errors: [crash, crash] }),
      { kind: "crashed", crashCount: 2 },
    ],
    ["does not count warnings", watched(), beat("1.1.0", "b", { errors: [warning] }), { kind: "none" }],
    [
      "ends at the limit",
      watched({ crashCount: 2 }),
      beat("1.1.0", "c"),
      { kind: "crash_loop", crashCount: 3 },
    ],
    [
      "cannot count a reboot across a restart of the service",
      watched({ watchedBootId: undefined }),
      beat("1.1.0", "c"),
      { kind: "none" },
    ],
    ["ends with the old version", watched(), beat("1.0.0", "c"), { kind: "reverted", version: "1.0.0" }],
  ] as const)("%s", (_, open, record, evidence) => {
    expect(judge(open, record)).toEqual(evidence);
  });
});

describe("a clock that was set forward by a day", () => {
  const day = 24 * 60 * minute;
  const stepped = {
    between: (from: Date | number, to: Date | number = start) => Number(to) - Number(from) - day,
    elapsed: (from: Date | number, to: Date | number = start) => Number(to) - Number(from) - day,
  };
  const after = (ms: number) => ({ receivedAt: new Date(start + day + ms) });

  it("shortens no watch", () => {
    const watched = update({ state: "VERIFYING", watchedBootId: "b", provenAtMs: start });
    expect(judge(watched, beat("1.1.0", "b", after(4 * minute)), stepped)).toEqual({ kind: "none" });
    expect(judge(watched, beat("1.1.0", "b", after(5 * minute)), stepped)).toEqual({ kind: "verified" });
  });

  it("makes no boot a later one than it was", () => {
    const old = beat("1.0.0", "b", { ...after(minute), uptimeMs: 5 * minute });
    expect(judge(update(), old, stepped)).toEqual({ kind: "none" });
    expect(judge(update(), { ...old, uptimeMs: 10_000 }, stepped).kind).toBe("reverted");
  });
});

describe("a rollback", () => {
  const back = (other: Partial<OpenUpdate> = {}) =>
    update({
      action: "ROLLBACK",
      state: "OFFERED",
      toVersion: "1.0.0",
      fromVersion: "1.1.0",
      fromBootId: "b",
      taken: false,
      ...other,
    });

  it.each([
    ["is done on the version before in another boot", back(), beat("1.0.0", "c"), { kind: "verified" }],
    ["is not done in the same boot", back(), beat("1.0.0", "b"), { kind: "none" }],
    ["is not done on the new version", back({ taken: true }), beat("1.1.0", "c"), { kind: "none" }],
    ["is not done by what comes late", back(), beat("1.0.0", "a", { backlog: true }), { kind: "none" }],
  ] as const)("%s", (_, open, record, evidence) => {
    expect(judge(open, record)).toEqual(evidence);
  });
});

describe("an application", () => {
  const app = (other: Partial<OpenUpdate> = {}) => update({ component: "nav", fromVersion: "", ...other });
  const shows = (nav: string | undefined, other: Partial<DurableHeartbeat> = {}) =>
    beat("1.0.0", "a", { components: nav === undefined ? undefined : { nav }, ...other });

  it("is proven by its own version, without a reboot", () => {
    expect(judge(app(), shows("1.1.0")).kind).toBe("proven");
    expect(judge(app(), shows("1.0.9")).kind).toBe("none");
    expect(judge(app(), shows(undefined)).kind).toBe("none");
    expect(judge(app(), beat("1.1.0", "b")).kind).toBe("none");
    expect(judge(app({ action: "ROLLBACK" }), shows("1.1.0")).kind).toBe("verified");
  });

  it("is watched like firmware, also by heartbeats that name no components", () => {
    const watched = app({
      state: "VERIFYING",
      provenAtMs: start,
      verificationMs: minute,
      watchedBootId: "a",
    });
    expect(judge(watched, shows(undefined)).kind).toBe("verified");
    expect(judge(watched, shows("1.1.0", { bootId: "b" }))).toEqual({
      kind: "crashed",
      crashCount: 1,
    });
    expect(judge(watched, shows("1.0.0"))).toEqual({ kind: "reverted", version: "1.0.0" });
    expect(judge(watched, shows(undefined, { components: {} }))).toEqual({
      kind: "reverted",
      version: "",
    });
  });
});
