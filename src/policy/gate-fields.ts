import type { Field } from "./field.ts";

const minute = 60_000;

/** What must hold before the next ring opens, field by field; the contract's RingGate is its manual. */
export const gateFields = {
  minSample: {
    kind: "count",
    default: 1,
    range: [0, 1_000_000],
    option: "--gate-min-sample <count>",
    help: "finished devices that a ring needs to pass, or all there are",
    label: "Finished, at least",
    told: ["Finished devices", "at least {} finished"],
  },
  minSuccessPercent: {
    kind: "percent",
    default: 90,
    range: [0, 100],
    option: "--gate-success <percent>",
    help: "share of the devices that began that must have succeeded",
    label: "Succeeded",
    told: ["Succeeded", "{} of them succeeded"],
  },
  soakMs: {
    kind: "duration",
    wire: "soakDuration",
    default: 10 * minute,
    range: [0, 30 * 24 * 60 * minute],
    option: "--gate-soak <duration>",
    help: "how long that must hold",
    label: "Held for",
    unit: "min",
    told: ["Soaked", "for {}"],
  },
  requireNoWorseHealth: {
    kind: "flag",
    default: false,
    option: "--gate-health",
    help: "pass only once updated devices are known to fare no worse than the others",
    label: "Health must be no worse",
    told: ["Health", "health no worse"],
  },
  requireApproval: {
    kind: "flag",
    default: false,
    option: "--gate-approval",
    help: "wait for `rollout approve` by somebody else before a ring opens",
    label: "Somebody else approves that it opens",
    told: ["Approval", "this ring needs an approval to open"],
  },
  manual: {
    kind: "flag",
    default: false,
    option: "--gate-manual",
    help: "wait for `rollout promote` even when the gate holds",
    label: "Promoted by hand",
    told: ["By hand", "then promoted by hand"],
  },
} as const satisfies Readonly<Record<string, Field>>;

/** The rings of a rollout that names none, with the share in percent that each reaches with those before it. */
export const defaultRings = [
  { name: "canary", percent: 5 },
  { name: "early", percent: 25 },
  { name: "broad", percent: 75 },
  { name: "production", percent: 100 },
] as const;
