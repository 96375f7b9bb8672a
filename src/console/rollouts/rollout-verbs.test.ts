import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { expect, it } from "vitest";
import { RingState, RolloutSchema, RolloutState } from "../../../gen/ota/v1/rollout_pb.js";
import { verbsFor } from "./rollout-verbs.ts";

function rolloutIn(state: RolloutState) {
  return create(RolloutSchema, {
    state,
    product: "thermostat-os",
    version: "1.2.0",
    rings: [
      { name: "canary", percent: 5, state: RingState.OPEN, gateStatus: "2 of 5 have finished" },
      { name: "production", percent: 100, state: RingState.WAITING },
    ],
  });
}

it.each([
  [RolloutState.DRAFT, ["start", "abort"]],
  [RolloutState.AWAITING_APPROVAL, ["approve", "abort"]],
  [RolloutState.SCHEDULED, ["pause", "abort"]],
  [RolloutState.RUNNING, ["promote", "pause", "rollback", "abort"]],
  [RolloutState.PAUSED, ["resume", "rollback", "abort"]],
  [RolloutState.ROLLING_BACK, ["abort"]],
  [RolloutState.COMPLETED, ["rollback", "abort", "archive"]],
  [RolloutState.ROLLED_BACK, ["archive"]],
  [RolloutState.ABORTED, ["archive"]],
])("offers what state %s allows", (state, names) => {
  expect(verbsFor(rolloutIn(state)).map(({ name }) => name)).toEqual(names);
});

it.each([
  [RolloutState.RUNNING, ["pause", "abort"]],
  [RolloutState.PAUSED, ["resume", "abort"]],
])("neither promotes nor rolls back the way out of a recall in state %s", (state, names) => {
  const rollout = create(RolloutSchema, { ...rolloutIn(state), recalledVersion: "1.1.0" });
  expect(verbsFor(rollout).map(({ name }) => name)).toEqual(names);
});

it("only takes an archived rollout out of the archive", () => {
  const rollout = create(RolloutSchema, {
    ...rolloutIn(RolloutState.COMPLETED),
    archiveTime: timestampFromMs(1),
  });
  expect(verbsFor(rollout).map(({ name }) => name)).toEqual(["unarchive"]);
});

it.each([RolloutState.SCHEDULED, RolloutState.RUNNING, RolloutState.PAUSED])(
  "offers the approval of a ring in state %s, but not to who created the rollout",
  (state) => {
    const rollout = create(RolloutSchema, { ...rolloutIn(state), awaitingApprovalRing: "production" });
    const [first] = verbsFor(rollout);
    expect(first?.label(rollout)).toBe("Approve production");
    expect(verbsFor(rollout, true).map(({ name }) => name)).not.toContain("approve");
    expect(verbsFor(rollout, true)).toEqual(verbsFor(rollout).slice(1));
  },
);

it("wants the version typed for what cannot be undone, and for nothing else", () => {
  const rollout = rolloutIn(RolloutState.RUNNING);
  const typed = verbsFor(rollout).filter((verb) => verb.typed !== undefined);
  expect(typed.map(({ name }) => name)).toEqual(["rollback", "abort"]);
  expect(typed.every((verb) => verb.typed?.(rollout) === "1.2.0")).toBe(true);
});

it("says which ring a promotion opens and what its gate still misses", () => {
  const rollout = rolloutIn(RolloutState.RUNNING);
  const [promote] = verbsFor(rollout);
  expect(promote?.label(rollout)).toBe("Promote to production");
  expect(promote?.consequences(rollout).join(" ")).toMatch(/100 %.*2 of 5 have finished/);
});
