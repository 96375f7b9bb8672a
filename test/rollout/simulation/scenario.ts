import { seededRandom } from "../../../src/agent/seeded-random.ts";
import type { NewPolicy, NewRing } from "../../../src/rollout/model/new-rollout.ts";

/** A fleet, a rollout for it, and what happens to them: all that a run of the simulation depends on, as plain data. */
export interface Scenario {
  readonly seed: number;
  readonly policy: NewPolicy;
  /** None: the default ones. */
  readonly rings: readonly NewRing[];
  readonly devices: readonly DeviceScript[];
  readonly replicas: 1 | 2;
  /** Whether the catalogue lacks the version that the fleet comes from. */
  readonly baseMissing: boolean;
  /** What an operator does once the rollout waits for a person; then it goes on, if it can. */
  readonly operator: "nothing" | "resume" | "promote" | "abort";
  /** The clock that all replicas share is set. */
  readonly clockSteps: readonly { readonly atMs: number; readonly byMs: number }[];
  /** A replica stands still: it is stopped, or its machine sleeps. */
  readonly freezes: readonly Freeze[];
  /** The database is away from all. */
  readonly outages: readonly { readonly atMs: number; readonly forMs: number }[];
}

/** A time in which a replica stands still. */
interface Freeze {
  readonly atMs: number;
  readonly forMs: number;
  readonly replica: number;
  /** Whether its machine sleeps, so that its monotonic clock stands still as well. */
  readonly asleep: boolean;
}

/** What a device does with an update. */
export const fates = [
  /** Takes it and fares well. */
  "well",
  /** Installs it and is never heard again. */
  "bricked",
  /** Is silent for longer than it should be, then fares well. */
  "slow",
  /** Reports a failure. */
  "fails",
  /** Comes back on the version before. */
  "reverts",
  /** Crashes as often as it beats. */
  "crashes",
  /** Is not heard again once it downloads. */
  "vanishes",
  /** Never asks. */
  "dark",
] as const;

/** See {@link fates}. */
export type Fate = (typeof fates)[number];

/** A device and what it will do. Times are in milliseconds, and of day since the start of the rollout. */
export interface DeviceScript {
  /** A UUID. */
  readonly id: string;
  readonly fate: Fate;
  /** The enrolment key; empty for none. */
  readonly key: string;
  readonly version: string;
  /** The text under which it reports the new version. */
  readonly reportsAs: string;
  readonly pin: "none" | "canary" | "excluded";
  /** When it is enrolled; negative: before the start. */
  readonly joinsAtMs: number;
  /** When it first asks. */
  readonly asksAtMs: number;
  readonly askEveryMs: number;
  /** Whether it is told at once that something waits for it. */
  readonly streams: boolean;
  readonly downloadMs: number;
  readonly installMs: number;
  /** From the reboot to the first heartbeat. */
  readonly awayMs: number;
  /** When it is retired. */
  readonly retiresAtMs: number | undefined;
}

/** The version that simulated rollouts bring. */
export const newVersion = "1.1.0";

const second = 1_000;
const minute = 60 * second;
const hour = 60 * minute;

/** Draws the scenario of a seed, with at most so many devices. */
export function drawScenario(seed: number, maxDevices: number): Scenario {
  const draw = new Draw(seed);
  const replicas = draw.chance(0.5) ? 2 : 1;
  const policy = drawPolicy(draw);
  const mix = drawMix(draw);
  // Most faults show in small fleets, and one of thousands takes as long as a hundred of them.
  const most = draw.chance(0.1) ? maxDevices : Math.min(maxDevices, 300);
  const size = draw.chance(0.25) ? draw.whole(0, 4) : Math.floor(draw.scaled(most));
  const isOdd = draw.chance(0.2);
  return {
    seed,
    policy,
    rings: draw.chance(0.6) ? [] : drawRings(draw),
    devices: Array.from({ length: size }, () => drawDevice(draw, mix, isOdd)),
    replicas,
    baseMissing: draw.chance(0.1),
    operator: draw.one(["nothing", "nothing", "resume", "promote", "abort"]),
    clockSteps: draw.some(0.2, 2, () => ({
      atMs: draw.whole(0, 3 * hour),
      byMs: draw.one([-hour, hour, 24 * hour, -24 * hour, 90 * second]),
    })),
    freezes: draw.some(0.2, 3, () => ({
      atMs: draw.whole(0, 3 * hour),
      replica: draw.whole(0, replicas - 1),
      forMs: draw.one([30 * second, 5 * minute, hour]),
      asleep: draw.chance(0.3),
    })),
    outages: draw.some(0.15, 2, () => ({
      atMs: draw.whole(0, 3 * hour),
      forMs: draw.one([30 * second, 10 * minute, hour]),
    })),
  };
}

/** A fleet that is all alike but for a share that does something else, with all defaults. */
export function plainScenario(
  seed: number,
  size: number,
  { fate, share }: { readonly fate: Fate; readonly share: number },
): Scenario {
  const draw = new Draw(seed);
  return {
    seed,
    policy: {},
    rings: [],
    devices: Array.from({ length: size }, () => ({
      ...drawDevice(draw, () => (draw.chance(share) ? fate : "well"), false),
      key: "",
      pin: "none" as const,
      version: "1.0.0",
      joinsAtMs: -hour,
      asksAtMs: draw.whole(0, 5 * minute),
      streams: true,
      downloadMs: minute,
      retiresAtMs: undefined,
    })),
    replicas: 1,
    baseMissing: false,
    operator: "nothing",
    clockSteps: [],
    freezes: [],
    outages: [],
  };
}

function drawPolicy(draw: Draw): NewPolicy {
  if (draw.chance(0.5)) return {};
  return {
    failureThresholdPercent: draw.one([0, 5, 10, 10, 30, 60]),
    failureMinSample: draw.one([1, 2, 5, 5, 20]),
    ...(draw.chance(0.25) ? { failureCountLimit: 3 } : {}),
    pauseOnFailure: draw.chance(0.3),
    verificationMs: draw.one([0, minute, 5 * minute, 20 * minute]),
    deviceTimeoutMs: draw.one([30 * minute, hour, 6 * hour]),
    returnMs: draw.one([minute, 5 * minute, 30 * minute]),
    maxRetries: draw.one([0, 0, 1, 3]),
    retryBackoffMs: draw.one([minute, 10 * minute]),
    maxInProgress: draw.one([1, 5, 10_000]),
  };
}

function drawRings(draw: Draw): NewRing[] {
  const percents = draw.one([[100], [1, 100], [10, 50, 100], [5, 25, 75, 90], [0.01, 50, 100]]);
  return percents.map((percent, at) => ({
    name: `ring-${at}`,
    percent,
    gate: {
      minSample: draw.one([0, 1, 1, 5, 50]),
      minSuccessPercent: draw.one([0, 50, 90, 90, 100]),
      soakMs: draw.one([0, minute, 10 * minute, hour]),
      manual: draw.chance(0.1),
    },
  }));
}

/** How likely each fate is in a fleet: most are nearly all well, some are very bad. */
function drawMix(draw: Draw): () => Fate {
  const share = draw.one([0, 0.02, 0.05, 0.1, 0.15, 0.3, 0.6, 1]);
  const bad = fates.slice(1).filter(() => draw.chance(0.4));
  return () => (bad.length > 0 && draw.chance(share) ? draw.one(bad) : "well");
}

function drawDevice(draw: Draw, fate: () => Fate, isOdd: boolean): DeviceScript {
  const joinsAtMs = draw.chance(0.9) ? -hour : draw.whole(0, 2 * hour);
  return {
    id: draw.uuid(),
    fate: fate(),
    key: draw.one(["", "key-a", "key-a", "key-b"]),
    version: isOdd
      ? draw.one(["1.0.0", "v1.0.0", "1.0", "2024.08.1", "factory", newVersion, "2.0.0"])
      : "1.0.0",
    reportsAs: isOdd ? draw.one([newVersion, `v${newVersion}`, `${newVersion}+git.abc`]) : newVersion,
    pin: isOdd ? draw.one(["none", "none", "none", "canary", "excluded"]) : "none",
    joinsAtMs,
    asksAtMs:
      Math.max(0, joinsAtMs) + (draw.chance(0.9) ? draw.whole(0, 15 * minute) : draw.whole(0, 5 * hour)),
    askEveryMs: draw.one([5 * minute, 15 * minute]),
    streams: draw.chance(0.7),
    downloadMs: draw.one([5 * second, minute, 20 * minute]),
    installMs: draw.whole(5 * second, 50 * second),
    awayMs: draw.whole(10 * second, 50 * second),
    retiresAtMs: draw.chance(0.03) ? draw.whole(0, 2 * hour) : undefined,
  };
}

/** Draws from a seed. */
class Draw {
  readonly #random: () => number;

  constructor(seed: number) {
    this.#random = seededRandom("rollout simulation", seed);
  }

  chance(share: number): boolean {
    return this.#random() < share;
  }

  whole(from: number, to: number): number {
    return from + Math.floor(this.#random() * (to - from + 1));
  }

  /** From 0 to `most`, small ones far more often. */
  scaled(most: number): number {
    return (most + 1) ** this.#random() - 1;
  }

  one<T>(of: readonly T[]): T {
    return of[Math.floor(this.#random() * of.length)] as T;
  }

  some<T>(share: number, most: number, make: () => T): T[] {
    return this.chance(share) ? Array.from({ length: this.whole(1, most) }, make) : [];
  }

  uuid(): string {
    const hex = Array.from({ length: 30 }, () => this.whole(0, 15).toString(16)).join("");
    const groups = [
      hex.slice(0, 8),
      hex.slice(8, 12),
      `7${hex.slice(12, 15)}`,
      `8${hex.slice(15, 18)}`,
      hex.slice(18),
    ];
    return groups.join("-");
  }
}
