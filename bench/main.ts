import { parseArgs } from "node:util";
import { download } from "./download.ts";
import { type BenchResult, jsonLine, table } from "./harness/result.ts";
import { heartbeatStream } from "./heartbeat-stream.ts";
import { idleStreams } from "./idle-streams.ts";
import { queries } from "./queries.ts";
import { rolloutStart } from "./rollout-start.ts";
import { updateCheck } from "./update-check.ts";

const benches: Record<string, (options: { quick: boolean }) => Promise<BenchResult[]>> = {
  "heartbeat-stream": heartbeatStream,
  "update-check": updateCheck,
  download,
  "rollout-start": rolloutStart,
  "idle-streams": idleStreams,
  queries,
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

const results: BenchResult[] = [];
for (const [name, run] of Object.entries(benches)) {
  if (values.only.length > 0 && !values.only.includes(name)) continue;
  if (!values.json) console.error(`running ${name} ...`);
  for (const result of await run({ quick: values.quick })) {
    results.push(result);
    if (values.json) console.log(jsonLine(result));
  }
}
if (!values.json) console.log(table(results));
