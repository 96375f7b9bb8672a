import { parseArgs } from "node:util";
import { drawScenario, type Fate, plainScenario } from "./scenario.ts";
import { failureText, shrink } from "./shrink.ts";
import { type Outcome, simulate } from "./simulation.ts";

/**
 * Plays rollouts to random fleets and prints what came of them; `npm run simulation -- --fleets 100 --from 4711` plays
 * others. Ends with 1 if one went wrong, with the smallest fleet that still does.
 */
const { values } = parseArgs({
  options: {
    fleets: { type: "string", default: "10000" },
    from: { type: "string", default: "1" },
    devices: { type: "string", default: "5000" },
  },
});

await playFleets(Number(values.from), Number(values.fleets), Number(values.devices));
await printTimesToStop();

async function playFleets(from: number, fleets: number, maxDevices: number): Promise<void> {
  const ends = new Map<string, number>();
  let [devices, decisions, writes] = [0, 0, 0];
  print(`seeds ${from} to ${from + fleets - 1}, fleets of up to ${maxDevices} devices`);
  for (let seed = from; seed < from + fleets; seed++) {
    const scenario = drawScenario(seed, maxDevices);
    const outcome = await simulate(scenario);
    if (outcome.violation !== undefined) {
      print(failureText(await shrink(scenario)));
      process.exit(1);
    }
    devices += scenario.devices.length;
    decisions += outcome.decisions;
    writes += outcome.writes;
    const end = endOf(outcome);
    ends.set(end, (ends.get(end) ?? 0) + 1);
    if ((seed - from + 1) % 1_000 === 0) print(`${seed - from + 1} fleets`);
  }
  print(
    `${fleets} fleets, ${devices} devices, ${decisions} decisions, ${writes} changes of updates; ended as`,
  );
  for (const [end, count] of [...ends].sort((a, b) => b[1] - a[1])) print(`  ${count} ${end}`);
}

function endOf({ rollout: { state, alert } }: Outcome): string {
  return alert === "" ? state : `${state}, with an alert`;
}

/** With all defaults: how long until a rollout that silences devices is stopped, and how many devices it took by then. */
async function printTimesToStop(): Promise<void> {
  const shares = [1, 0.9, 0.3];
  print(
    "\nwith all defaults, the median of 9 fleets: minutes until it is stopped (devices silenced or updated by then)",
  );
  print(["devices", ...shares.map((share) => `${share * 100} % silent`)].join("\t"));
  for (const size of [1, 2, 3, 10, 20, 60, 120, 1_000, 5_000]) {
    const cells: string[] = [];
    for (const share of shares) cells.push(await timeToStop(size, { fate: "bricked", share }));
    print([size, ...cells].join("\t"));
  }
}

async function timeToStop(size: number, mix: { fate: Fate; share: number }): Promise<string> {
  const runs: Outcome[] = [];
  for (let seed = 1; seed <= 9; seed++) runs.push(await simulate(plainScenario(seed, size, mix)));
  const byTime = runs.sort((a, b) => (a.stoppedAtMs ?? Infinity) - (b.stoppedAtMs ?? Infinity));
  const median = byTime[4];
  if (median?.stoppedAtMs === undefined) return `not (${median?.rollout.state})`;
  return `${(median.stoppedAtMs / 60_000).toFixed(1)} (${median.began})`;
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
