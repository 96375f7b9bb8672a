import { describe, expect, it } from "vitest";
import { seededRandom } from "../../src/agent/seeded-random.ts";
import { simulatedCrash } from "../../src/agent/simulated-crash.ts";
import { fingerprintOf } from "../../src/crash/fingerprint.ts";

function groupsOf(version: string, devices: number): Map<string, number> {
  const groups = new Map<string, number>();
  for (let device = 0; device < devices; device++) {
    const { code = "", message = "", stack = "" } = simulatedCrash(version, seededRandom("device", device));
    const { title } = fingerprintOf({ code, message, stack });
    groups.set(title, (groups.get(title) ?? 0) + 1);
  }
  return groups;
}

describe("a simulated crash", () => {
  it("is of few causes, one of which a version is known for", () => {
    const counts = [...groupsOf("1.2.0", 500).values()].toSorted((a, b) => b - a);
    expect(counts).toHaveLength(4);
    expect(counts[0]).toBeGreaterThan(400);
  });

  it("differs from device to device and keeps to the contract", () => {
    const reports = Array.from({ length: 50 }, (_, device) => simulatedCrash("1.2.0", seededRandom(device)));
    expect(new Set(reports.map(({ message, stack }) => `${message}${stack}`)).size).toBeGreaterThan(25);
    for (const { context = {}, fatal, stack = "" } of reports) {
      expect(fatal).toBe(true);
      expect(Object.keys(context).length).toBeLessThanOrEqual(16);
      expect(stack.length).toBeLessThan(16_000);
    }
  });

  it("has another usual cause in another version", () => {
    const usual = Array.from({ length: 12 }, (_, minor) => {
      const [[title] = [""]] = [...groupsOf(`1.${minor}.0`, 40)].toSorted(([, a], [, b]) => b - a);
      return title;
    });
    expect(new Set(usual).size).toBeGreaterThan(1);
  });
});
