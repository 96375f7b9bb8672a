import { describe, expect, it } from "vitest";
import { compiled } from "../../../test/rollout/compiled-fixture.ts";
import { remediesOf } from "./remedies.ts";
import type { RingCensusCounts, Rollout } from "./rollout.ts";
import { stuckAlert } from "./stuck-alert.ts";

const everybody: RingCensusCounts = {
  devices: 10,
  eligible: 10,
  awaited: 4,
  reachable: 1,
  heldBack: 0,
  gone: 3,
};

/** A rollout of two rings that cannot go on, as wished. */
function stuck(other: Partial<Rollout> = {}, first: Partial<Rollout["rings"][number]> = {}): Rollout {
  const { rollout } = compiled({
    rings: [
      [500, "OPEN"],
      [10_000, "WAITING"],
    ],
  });
  const rings = rollout.rings.map((ring, at) => ({
    ...ring,
    census: { ...everybody, countedAt: new Date(0) },
    ...(at === 0 ? first : {}),
  }));
  return { ...rollout, rings, alert: stuckAlert("it waits"), ...other };
}

function actions(rollout: Rollout): string[] {
  return remediesOf(rollout).map(({ action, ring = "" }) => `${action} ${ring}`.trim());
}

describe("what mends an alert", () => {
  it("is nothing where there is none", () => {
    expect(remediesOf(stuck({ alert: "" }))).toEqual([]);
  });

  it("of a gate that holds and is manual is a promotion", () => {
    expect(actions(stuck({}, { gateHeldSince: new Date(0) }))).toEqual([
      "PROMOTE ring-1",
      "ROLL_BACK",
      "ABORT",
    ]);
  });

  it("of a ring that needs one is an approval, by somebody else", () => {
    const { rings } = stuck({}, { gateHeldSince: new Date(0) });
    const guarded = rings.map((ring, at) =>
      at === 1 ? { ...ring, gate: { ...ring.gate, requireApproval: true } } : ring,
    );
    const [approve, ...others] = remediesOf(stuck({ rings: guarded }));
    expect(approve).toMatchObject({
      action: "APPROVE",
      ring: "ring-1",
      message: "an operator other than operator:test can approve ring ring-1",
    });
    expect(others).toEqual([]);
  });

  it("of failed and silent devices is another try and a look at them", () => {
    const { rings } = stuck();
    const counters = {
      ...(rings[0] as Rollout["rings"][number]).counters,
      offered: 6,
      began: 6,
      failed: 2,
      missing: 1,
    };
    expect(actions(stuck({}, { counters }))).toEqual([
      "RETRY_DEVICES ring-0",
      "BRING_ONLINE ring-0",
      "PROMOTE ring-1",
      "ROLL_BACK",
      "ABORT",
    ]);
  });

  it("of a rollout for nobody is to enrol somebody", () => {
    const rings = stuck().rings.map((ring) => ({
      ...ring,
      census: {
        devices: 0,
        eligible: 0,
        awaited: 0,
        reachable: 0,
        heldBack: 0,
        gone: 0,
        countedAt: new Date(0),
      },
    }));
    expect(actions(stuck({ rings }))).toEqual(["ENROL_DEVICES", "ABORT"]);
  });

  it("of a rollback without a version to go back to is that version", () => {
    const rollout = stuck({
      state: "ROLLING_BACK",
      alert: "2 devices must not be",
      missingVersions: ["1.0.0"],
    });
    expect(remediesOf(rollout)).toMatchObject([
      { action: "UPLOAD_FIRMWARE", product: "os", version: "1.0.0" },
    ]);
  });
});
