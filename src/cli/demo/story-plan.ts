import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type { RingSpecSchema, RolloutPolicySchema } from "../../../gen/ota/v1/rollout_pb.js";

/** What the devices come from the factory with; the catalogue does not know it. */
export const factoryVersion = "1.0.0";
/** The update that works. */
export const goodVersion = "1.1.0";
/** The update that crashes on a third of the devices. */
export const badVersion = "1.2.0";

/** The update that bricks every device that installs it. */
export const brickingVersion = "1.3.0";

export const product = "thermostat-os";
export const deviceType = "thermostat";

/** One device in so many crashes on {@link badVersion}. */
export const crashEvery = 3;

/** How long a device must beat healthily on a new version. Minutes or hours in real life. */
const verificationMs = 3000;

/** So many crashes while a device proves itself are a failure. */
const crashLimit = 2;

/** How long a device runs before it crashes, on average; {@link crashLimit} of them must fit into the verification. */
export const crashAfterMs = 700;

/** How long a device may be silent once it installs {@link brickingVersion}. Minutes in real life. */
const returnMs = 4000;

/** How long a ring's gate must hold. Hours or days in real life. */
const soakMs = 1000;

/** The least number of canary devices to expect, so that chance leaves none of them out. */
const canaryDevices = 10;

/** How the rollouts of the demo proceed: as real ones do, with seconds for minutes. */
export interface StoryPlan {
  readonly rings: MessageInitShape<typeof RingSpecSchema>[];
  readonly policy: MessageInitShape<typeof RolloutPolicySchema>;
  /** As {@link StoryPlan.policy}, for the update after which devices fall silent. */
  readonly silencePolicy: MessageInitShape<typeof RolloutPolicySchema>;
  /** The plan in words, for the audience. */
  readonly text: string;
  /** What is different by {@link StoryPlan.silencePolicy}, in words. */
  readonly silenceText: string;
}

/**
 * Plans for a fleet of `devices`. From 200 devices on, the rings are the default ones; smaller fleets get a wider canary
 * ring, because membership is by hash and 5 % of few devices may be none.
 */
export function planStory(devices: number): StoryPlan {
  const canary = Math.max(5, Math.ceil((100 * canaryDevices) / devices));
  const shares = [
    { name: "canary", percent: canary },
    { name: "early", percent: Math.max(25, canary + 20) },
    { name: "broad", percent: Math.max(75, Math.min(90, canary + 45)) },
    { name: "production", percent: 100 },
  ];
  let before = 0;
  const rings = shares.map(({ name, percent }) => {
    const expected = (devices * (percent - before)) / 100;
    before = percent;
    return {
      name,
      percent,
      gate: {
        // Far below the expected number, since chance decides how many devices a ring really has.
        minSample: Math.max(1, Math.floor(expected * (name === "canary" ? 0.2 : 0.5))),
        minSuccessPercent: 90,
        soakDuration: durationFromMs(soakMs),
        manual: false,
      },
    };
  });
  const failureThresholdPercent = 20;
  const failureMinSample = Math.max(1, Math.floor(canaryDevices * 0.2));
  const policy = {
    failureThresholdPercent,
    failureMinSample,
    verificationDuration: durationFromMs(verificationMs),
    deviceTimeout: durationFromMs(5 * 60_000),
    crashLimit,
  };
  return {
    rings,
    policy,
    silencePolicy: { ...policy, returnDuration: durationFromMs(returnMs) },
    silenceText: `a device that installs it and is not heard for ${returnMs / 1000} s is missing, which counts like a failure`,
    text:
      `${shares.map(({ name, percent }) => `${name} ${percent} %`).join(" → ")}; a device is proven by ` +
      `${verificationMs / 1000} s of healthy heartbeats after its reboot, a ring passes when 90 % of its devices ` +
      `are proven for ${soakMs / 1000} s, more than ${failureThresholdPercent} % failures roll everything back ` +
      "(real rollouts take minutes to days for what takes seconds here)",
  };
}
