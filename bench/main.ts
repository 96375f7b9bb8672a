import { parseArgs } from "node:util";
import { crashReports } from "./crash-reports.ts";
import { download } from "./download.ts";
import { fleetQueries } from "./fleet-queries.ts";
import type { BenchOptions } from "./harness/options.ts";
import { type BenchResult, jsonLine, table } from "./harness/result.ts";
import { heartbeatFleet } from "./heartbeat-fleet.ts";
import { heartbeatLatency } from "./heartbeat-latency.ts";
import { heartbeatStream } from "./heartbeat-stream.ts";
import { hostileReaders } from "./hostile-readers.ts";
import { idleStreams } from "./idle-streams.ts";
import { SharedFleet } from "./load/running-fleet.ts";
import { queries } from "./queries.ts";
import { registration } from "./registration.ts";
import { rolloutOutcomes } from "./rollout-outcomes.ts";
import { rolloutPreview } from "./rollout-preview.ts";
import { rolloutRollback } from "./rollout-rollback.ts";
import { rolloutVerbs } from "./rollout-verbs.ts";
import { updateCheck } from "./update-check.ts";
import { waitingChecks } from "./waiting-checks.ts";

const benches: Record<string, (options: BenchOptions) => Promise<BenchResult[]>> = {
  "heartbeat-stream": heartbeatStream,
  "heartbeat-latency": heartbeatLatency,
  "heartbeat-fleet": heartbeatFleet,
  "crash-reports": crashReports,
  "update-check": updateCheck,
  download,
  registration,
  "rollout-preview": rolloutPreview,
  "fleet-queries": fleetQueries,
  "rollout-outcomes": rolloutOutcomes,
  "rollout-verbs": rolloutVerbs,
  "rollout-rollback": rolloutRollback,
  "idle-streams": idleStreams,
  "waiting-checks": waitingChecks,
  queries,
  "hostile-readers": hostileReaders,
};

const { values } = parseArgs({
  options: {
    json: { type: "boolean", default: false },
    quick: { type: "boolean", default: false },
    only: { type: "string", multiple: true, default: [] },
  },
});

const unknown = values.only.filter((name) => !(name in benches));
if (unknown.length > 0) {
  console.error(`unknown bench ${unknown.join(", ")}; there are ${Object.keys(benches).join(", ")}`);
  process.exit(2);
}

/** Devices of the large fleet. */
const fleetDevices = values.quick ? 100_000 : 1_000_000;

await using fleet = new SharedFleet(fleetDevices);
const results: BenchResult[] = [];
for (const [name, run] of Object.entries(benches)) {
  if (values.only.length > 0 && !values.only.includes(name)) continue;
  if (!values.json) console.error(`running ${name} ...`);
  for (const result of await run({ quick: values.quick, fleet })) {
    results.push(result);
    if (values.json) console.log(jsonLine(result));
  }
}
if (!values.json) console.log(table(results));
