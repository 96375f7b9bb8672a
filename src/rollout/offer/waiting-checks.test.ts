import { describe, expect, it } from "vitest";
import { WaitingChecks } from "./waiting-checks.ts";

const { signal } = new AbortController();
const hour = 3_600_000;

function placed() {
  const checks = new WaitingChecks();
  let taken = 0;
  const take = () => {
    taken++;
    return { release: () => void taken-- };
  };
  return { checks, take, taken: () => taken };
}

describe("checks that wait", () => {
  it("look again after what was announced while they looked", async () => {
    const { checks, take } = placed();
    using check = checks.begin("a", take);
    expect(checks.updateAvailable("a")).toBe(true);
    expect(await check.pause(hour, signal)).toBe(true);
    const next = check.pause(hour, signal);
    checks.cancelUpdate("a");
    expect(await next).toBe(true);
    expect(checks.updateAvailable("b")).toBe(false);
  });

  it("hold one place for each device, and give it back once", async () => {
    const { checks, take, taken } = placed();
    const older = checks.begin("a", take);
    const waits = older.pause(hour, signal);
    const newer = checks.begin("a", take);
    expect([await waits, taken(), checks.size]).toEqual([false, 1, 1]);
    older[Symbol.dispose]();
    expect([taken(), [...checks.connectedDevices()]]).toEqual([1, ["a"]]);
    newer[Symbol.dispose]();
    newer[Symbol.dispose]();
    expect([taken(), checks.size]).toEqual([0, 0]);
  });

  it("are none where there is no place", () => {
    const { checks } = placed();
    const full = () => {
      throw new Error("full");
    };
    expect(() => checks.begin("a", full)).toThrow("full");
    expect(checks.size).toBe(0);
  });

  it("end with why their device may not wait, or their caller does not", async () => {
    const { checks, take, taken } = placed();
    using blocked = checks.begin("a", take);
    checks.disconnect("a", new Error("blocked"));
    await expect(blocked.pause(hour, signal)).rejects.toThrow("blocked");
    const gone = new AbortController();
    using left = checks.begin("b", take);
    const waits = left.pause(hour, gone.signal);
    gone.abort(new Error("gone"));
    await expect(waits).rejects.toThrow("gone");
    expect(taken()).toBe(1);
  });

  it("are all answered when the service stops", async () => {
    const { checks, take, taken } = placed();
    const waits = ["a", "b"].map((device) => checks.begin(device, take).pause(hour, signal));
    checks.drain();
    expect(await Promise.all(waits)).toEqual([false, false]);
    expect([checks.isDraining, taken()]).toEqual([true, 0]);
  });
});
