import { expect, it } from "vitest";
import { ReportedVersions } from "../../version/reported-versions.ts";
import { judgeStanding, type Standing } from "./standing.ts";

const reported = new ReportedVersions([
  { version: "1.0.0", reportedVersions: ["factory-7"] },
  { version: "3.0.0", reportedVersions: ["2026.11"] },
]);

/** A device that was proven to run 2.0.0 and does. */
const well: Standing = {
  deviceId: "d",
  updateId: "u",
  rolloutId: "r",
  rolloutState: "COMPLETED",
  product: "os",
  version: "2.0.0",
  reportedVersions: ["build-200"],
  isNewest: true,
  isOpen: false,
  succeeded: true,
  driftedTo: "",
  running: "2.0.0",
  rollback: null,
  isAway: false,
  isBehind: false,
  returns: 0,
  isBroughtAgain: false,
};

const rolledBack = { rolloutState: "ROLLED_BACK", rollback: "SUCCEEDED" } as const;

it.each<[what: string, change: Partial<Standing>, verdict: ReturnType<typeof judgeStanding>]>([
  ["runs what it was proven to run", {}, "as_known"],
  ["says so by a text that the firmware names", { running: "build-200" }, "as_known"],
  ["says so with build metadata", { running: "v2.0.0+7" }, "as_known"],
  ["says nothing of it", { running: "" }, "as_known"],
  ["runs an older version", { running: "1.9.9" }, "drifted"],
  ["ran an older version before its proof", { running: "1.9.9", isBehind: true }, "unsettled"],
  ["runs an older version by another text", { running: "factory-7" }, "drifted"],
  ["runs what nothing explains", { running: "recovery" }, "drifted"],
  ["runs a newer version", { running: "2.0.1" }, "as_known"],
  ["runs a newer version by another text", { running: "2026.11" }, "as_known"],
  ["is known to have drifted there", { running: "1.9.9", driftedTo: "1.9.9" }, "as_known"],
  ["drifted further", { running: "1.0.0", driftedTo: "1.9.9" }, "drifted"],
  ["is back", { driftedTo: "1.9.9" }, "recovered"],
  ["was moved on by hand", { running: "3.0.0", driftedTo: "1.9.9" }, "recovered"],
  ["never succeeded", { running: "1.0.0", succeeded: false }, "as_known"],
  ["is at the install", { running: "1.0.0", succeeded: false, isOpen: true }, "unsettled"],
  ["has just been proven", { succeeded: false, isOpen: true }, "as_known"],
  ["fell back under a rollout that was stopped", { running: "1.0.0", rolloutState: "ABORTED" }, "as_known"],
  ["fell back under a paused rollout", { running: "1.0.0", rolloutState: "PAUSED" }, "drifted"],
  ["was rolled back", { ...rolledBack, running: "1.0.0" }, "as_known"],
  ["came back on what was taken back", rolledBack, "take_back"],
  ["never was told to go back", { rolloutState: "ROLLED_BACK" }, "take_back"],
  ["is on its way back", { rolloutState: "ROLLING_BACK", rollback: "OFFERED" }, "as_known"],
  ["must not go back", { ...rolledBack, rollback: "FAILED" }, "as_known"],
  ["was alone rolled back, and is back on it", { rollback: "SUCCEEDED" }, "take_back"],
  [
    "did not go back in time, and was not heard since",
    { ...rolledBack, rollback: "TIMED_OUT", isAway: true },
    "as_known",
  ],
  ["did not go back in time, and was heard", { ...rolledBack, rollback: "TIMED_OUT" }, "take_back"],
  ["came back too often", { ...rolledBack, returns: 3 }, "as_known"],
  ["was brought it again since", { ...rolledBack, isBroughtAgain: true }, "as_known"],
  ["has had another update since", { ...rolledBack, isNewest: false }, "as_known"],
])("a device that %s", (_what, change, verdict) => {
  expect(judgeStanding({ ...well, ...change }, reported)).toBe(verdict);
});
