import { seededRandom } from "./seeded-random.ts";

/**
 * How a device takes a version: it runs; its installation fails; it comes back on the version before; it crashes and
 * reboots again and again; it does not come back at all; it does so late; or it runs and later falls back to the version
 * before, once.
 */
export type Behaviour = "healthy" | "fail_install" | "revert" | "crash" | "silent" | "late" | "drift";

/** Shares of the devices by behaviour, 0 to 1. What is not named is 0. */
export interface BehaviourRates {
  /** Devices that crash, by version: `{ "1.2.0": 0.33 }`. */
  readonly crash?: Readonly<Record<string, number>>;
  /** Installations that fail. */
  readonly failureRate?: number;
  /** Devices that come back on the version before. */
  readonly revertRate?: number;
  /** Devices that do not come back from an update. */
  readonly silentRate?: number;
  /** Devices that come back late from an update. */
  readonly lateRate?: number;
  /** Devices that run an update and fall back to the version before later. */
  readonly driftRate?: number;
}

/** Shares of the devices by behaviour: the same device always does the same with the same version. */
export function behaviourByRates(
  rates: BehaviourRates,
  seed: string | number,
): (version: string, device: { index: number }) => Behaviour {
  return (version, { index }) => {
    const shares: [Behaviour, number | undefined][] = [
      ["crash", rates.crash?.[version]],
      ["fail_install", rates.failureRate],
      ["revert", rates.revertRate],
      ["silent", rates.silentRate],
      ["late", rates.lateRate],
      ["drift", rates.driftRate],
    ];
    let left = seededRandom(seed, "behaviour", version, index)();
    for (const [behaviour, share = 0] of shares) {
      if (left < share) return behaviour;
      left -= share;
    }
    return "healthy";
  };
}
