import type { Logger } from "pino";
import { FleetSimulator } from "../../agent/fleet-simulator.ts";
import type { Behaviour } from "../../agent/simulated-behaviour.ts";
import {
  badVersion,
  brickingVersion,
  crashAfterMs,
  crashEvery,
  deviceType,
  factoryVersion,
} from "./story-plan.ts";

/** How often each device beats: a quiet fleet in real life beats once a minute. */
const heartbeatIntervalMs = 1000;

/** Times of an installation and a reboot: minutes in real life. */
const installMs = 150;
const rebootMs = 250;

/** Starts the demo's devices: real enrolment, streams and downloads over sockets of their own. */
export function startFleet(options: {
  readonly address: string;
  readonly enrolmentKey: string;
  readonly trustedKey: string;
  readonly devices: number;
  readonly seed: number;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}): Promise<FleetSimulator> {
  const { address, enrolmentKey, trustedKey, devices, seed, logger, signal } = options;
  return FleetSimulator.start({
    address,
    enrolmentKey,
    trustedKeys: [trustedKey],
    count: devices,
    seed,
    factoryVersion,
    serialPrefix: "demo",
    models: [
      { deviceType, hardwareModel: "tx-200" },
      { deviceType, hardwareModel: "tx-300" },
    ],
    behaviour: fateOf(seed),
    heartbeatIntervalMs,
    installMs,
    rebootMs,
    crashAfterMs,
    logger,
    signal,
  });
}

/** What each version does to a device. */
function fateOf(seed: number): (version: string, device: { index: number }) => Behaviour {
  const crashes = crashOnBadVersion(seed);
  return (version, device) => (version === brickingVersion ? "silent" : crashes(version, device));
}

/**
 * Every third device that installs the bad version will crash on it, in the order of installation. Chance alone would now
 * and then give a canary ring of ten devices no crash at all, and then the second ring would have to notice.
 */
export function crashOnBadVersion(seed: number): (version: string, device: { index: number }) => Behaviour {
  const fates = new Map<number, Behaviour>();
  return (version, { index }) => {
    if (version !== badVersion) return "healthy";
    let fate = fates.get(index);
    if (fate === undefined) {
      fate = (fates.size + seed - 1) % crashEvery === 0 ? "crash" : "healthy";
      fates.set(index, fate);
    }
    return fate;
  };
}
