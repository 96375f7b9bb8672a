import type { DeviceScript, Scenario } from "./scenario.ts";
import { type Outcome, simulate } from "./simulation.ts";

/** The smallest scenario that was found to go wrong in some way, and how that went. */
export interface Shrunk {
  readonly scenario: Scenario;
  readonly outcome: Outcome;
}

/** Makes a scenario that goes wrong smaller for as long as it still does: fewer devices first, then fewer things that happen. */
export async function shrink(scenario: Scenario): Promise<Shrunk> {
  let best: Shrunk = { scenario, outcome: await simulate(scenario) };
  let tries = 0;
  for (let found = true; found && tries < maxTries; ) {
    found = false;
    for (const smaller of smallerThan(best.scenario)) {
      if (++tries > maxTries) break;
      const outcome = await simulate(smaller);
      if (outcome.violation === undefined) continue;
      best = { scenario: smaller, outcome };
      found = true;
      break;
    }
  }
  return best;
}

/** What went wrong, with all that is needed to see why. */
export function failureText({ scenario, outcome }: Shrunk): string {
  const { devices, seed, ...rest } = scenario;
  return [
    `seed ${seed}: ${outcome.violation}`,
    `with ${devices.length} devices left of its fleet:`,
    ...devices.slice(0, maxDevicesShown).map((device) => `  ${JSON.stringify(device)}`),
    `and ${JSON.stringify(rest)}`,
    "time, state, and offered/began/succeeded/failed/missing of each ring:",
    ...outcome.story.slice(-maxLinesShown).map((line) => `  ${line}`),
  ].join("\n");
}

function* smallerThan(scenario: Scenario): Generator<Scenario> {
  const { devices } = scenario;
  for (let size = Math.ceil(devices.length / 2); size >= 1; size = size > 1 ? Math.ceil(size / 2) : 0) {
    for (let at = 0; at < devices.length; at += size) {
      yield { ...scenario, devices: devices.filter((_, index) => index < at || index >= at + size) };
    }
  }
  if (scenario.clockSteps.length > 0) yield { ...scenario, clockSteps: scenario.clockSteps.slice(1) };
  if (scenario.freezes.length > 0) yield { ...scenario, freezes: scenario.freezes.slice(1) };
  if (scenario.outages.length > 0) yield { ...scenario, outages: scenario.outages.slice(1) };
  if (scenario.replicas > 1) yield { ...scenario, replicas: 1 };
  if (scenario.operator !== "nothing") yield { ...scenario, operator: "nothing" };
  if (scenario.rings.length > 0) yield { ...scenario, rings: [] };
  for (const name of Object.keys(scenario.policy)) {
    const { [name as keyof typeof scenario.policy]: _, ...policy } = scenario.policy;
    yield { ...scenario, policy };
  }
  for (const [at, device] of devices.entries()) {
    const plainer = plain(device);
    if (plainer !== undefined) yield { ...scenario, devices: devices.with(at, plainer) };
  }
}

/** The same device without what is odd about it; undefined if nothing is. */
function plain(device: DeviceScript): DeviceScript | undefined {
  if (device.retiresAtMs !== undefined) return { ...device, retiresAtMs: undefined };
  if (device.key !== "") return { ...device, key: "" };
  if (device.fate !== "well") return { ...device, fate: "well" };
  return undefined;
}

/** Runs that a shrinking may take. */
const maxTries = 400;

const maxDevicesShown = 12;
const maxLinesShown = 40;
