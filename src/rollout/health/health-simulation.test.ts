import { describe, expect, it } from "vitest";
import { addEvidence, type EvidenceSums, noEvidence } from "./evidence-sums.ts";
import { healthSignals, type SignalName } from "./health-signals.ts";
import { type HealthVerdict, judgeHealth, pValueOf, type SignalEvidence } from "./health-verdict.ts";
import { RolloutCohorts } from "./rollout-cohorts.ts";

/**
 * Whole rollouts, simulated: devices of two models, each with its own liability to crash (a few crash all the time), its
 * own load and a daily rhythm, are updated ring by ring in an order drawn by lot. The verdict is looked at after every
 * bucket, as the service does.
 */
const hours = 60 * 60_000;
const alpha = 0.05;

interface Effect {
  readonly crashFactor: number;
  readonly cpuRise: number;
}

interface Outcome {
  readonly verdict: HealthVerdict;
  readonly worse: SignalName[];
  /** Updated devices when the verdict became "worse". */
  readonly updatedDevices: number;
  readonly noWorse: boolean;
}

const noEffect: Effect = { crashFactor: 1, cpuRise: 0 };

/** Millions of simulated hours: seconds on an idle machine. */
const timeout = 120_000;

describe("the health verdict, looked at after every bucket of simulated rollouts", { timeout }, () => {
  it("calls at most alpha of 2,000 harmless updates worse", () => {
    const rollouts = 2_000;
    let alarms = 0;
    for (let seed = 0; seed < rollouts; seed++) {
      if (simulate(seed, { ...noEffect }, { devices: 60, buckets: 36 }).verdict === "WORSE") alarms++;
    }
    expect(alarms / rollouts).toBeLessThanOrEqual(alpha);
  });

  it("catches a doubled crash rate of a fleet of 2,000 in nine of ten rollouts or more, mostly before the third ring", () => {
    const rollouts = 30;
    const caught: number[] = [];
    for (let seed = 0; seed < rollouts; seed++) {
      const { worse, updatedDevices } = simulate(seed, { crashFactor: 2, cpuRise: 0 }, large);
      if (worse.includes("crash_rate")) caught.push(updatedDevices);
    }
    expect(caught.length / rollouts).toBeGreaterThanOrEqual(0.9);
    expect(caught.toSorted((a, b) => a - b)[caught.length >> 1]).toBeLessThan(0.3 * large.devices);
  });

  it("catches a processor load that rose by 10 points with the first ring", () => {
    for (let seed = 0; seed < 10; seed++) {
      const { worse, updatedDevices } = simulate(seed, { crashFactor: 1, cpuRise: 10 }, large);
      expect(worse).toEqual(["cpu_percent"]);
      expect(updatedDevices).toBeLessThan(0.1 * large.devices);
    }
  });

  it("calls most harmless updates no worse in the end", () => {
    let calm = 0;
    for (let seed = 100; seed < 110; seed++) if (simulate(seed, noEffect, large).noWorse) calm++;
    expect(calm).toBeGreaterThanOrEqual(8);
  });
});

const large = { devices: 2_000, buckets: 96 };

function simulate(
  seed: number,
  effect: Effect,
  { devices: count, buckets }: { readonly devices: number; readonly buckets: number },
): Outcome {
  const random = generator(seed);
  const cohorts = new RolloutCohorts({ bucketMs: hours });
  const devices = Array.from({ length: count }, (_, at) => ({
    deviceId: `00000000-0000-7000-8000-${at.toString(16).padStart(12, "0")}`,
    hardwareModel: at % 2 === 0 ? "a" : "b",
    // Exponential liability, and one device in fifty that crashes in every third hour.
    crashesPerHour: random() < 0.02 ? 1 / 3 : -Math.log(1 - random()) / 240,
    load: 10 + 50 * random(),
    updatedAt: ringHour(random(), buckets),
    boot: 0,
  }));
  let evidence = new Map<SignalName, SignalEvidence>();
  for (let bucket = 1; bucket <= buckets; bucket++) {
    for (const device of devices) {
      const side = bucket >= device.updatedAt ? "updated" : "control";
      const factor = side === "updated" ? effect.crashFactor : 1;
      const crashed = random() < 1 - Math.exp(-device.crashesPerHour * factor);
      if (crashed || bucket === device.updatedAt) device.boot++;
      const rise = side === "updated" ? effect.cpuRise : 0;
      const rhythm = 10 * Math.sin((bucket / 24) * 2 * Math.PI);
      cohorts.observe(side, {
        deviceId: device.deviceId,
        hardwareModel: device.hardwareModel,
        receivedAtMs: bucket * hours + 30 * 60_000,
        bootId: String(device.boot),
        crashed,
        cpuPercent: device.load + rhythm + rise + 8 * (random() + random() + random() - 1.5),
      });
    }
    cohorts.tick((bucket + 1) * hours);
    evidence = added(evidence, cohorts.take());
    const { verdict, signals } = judgeHealth(evidence, alpha);
    if (verdict === "WORSE") {
      const worse = signals.filter((signal) => signal.verdict === "WORSE").map(({ name }) => name);
      const updatedDevices = devices.filter(({ updatedAt }) => updatedAt <= bucket).length;
      return { verdict, worse, updatedDevices, noWorse: false };
    }
  }
  const { verdict } = judgeHealth(evidence, alpha);
  return { verdict, worse: [], updatedDevices: count, noWorse: verdict === "NO_WORSE" };
}

/** When a device is updated: 5 % of the fleet after some hours, 25 % and 75 % later, the rest in the last quarter. */
function ringHour(lot: number, buckets: number): number {
  if (lot < 0.05) return 4;
  if (lot < 0.25) return Math.round(buckets / 3);
  if (lot < 0.75) return Math.round((2 * buckets) / 3);
  return Math.round((3 * buckets) / 4);
}

function added(
  evidence: ReadonlyMap<SignalName, SignalEvidence>,
  seen: ReadonlyMap<SignalName, EvidenceSums>,
): Map<SignalName, SignalEvidence> {
  const all = new Map(evidence);
  for (const signal of healthSignals) {
    const known = all.get(signal.name) ?? { sums: noEvidence, lowestP: 1 };
    const sums = addEvidence(known.sums, seen.get(signal.name) ?? noEvidence);
    all.set(signal.name, { sums, lowestP: Math.min(known.lowestP, pValueOf(signal, sums)) });
  }
  return all;
}

/** mulberry32: small, and good enough to draw lots. */
function generator(seed: number): () => number {
  let state = (seed * 2_654_435_761) >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
