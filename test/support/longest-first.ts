import { existsSync } from "node:fs";
import { join } from "node:path";
import { BaseSequencer, type TestSpecification } from "vitest/node";

/**
 * The files that take longest, the longest first. Begun last, as the size of a file says so little, one of them would keep
 * one worker busy while the others have nothing left to do.
 */
const longest = [
  "test/faults/database-faults.test.ts",
  "test/doors/hostile-values.test.ts",
  "test/docs/snippets.test.ts",
  "test/faults/side-by-side.test.ts",
  "test/cli/demo.test.ts",
  "test/cli/service.test.ts",
  "test/faults/flush-steps.test.ts",
  "test/faults/work-killed.test.ts",
  "test/rollout/small-fleets.test.ts",
  "test/cli/rollout.test.ts",
  "test/faults/process-death.test.ts",
  "test/rollout/clocks.test.ts",
  "test/infra/object-store.test.ts",
  "test/faults/reconnect-storm.test.ts",
  "test/agent/update-engine.test.ts",
  "test/faults/large-fleet.test.ts",
  "test/doors/fuzz.test.ts",
  "test/doors/orphans.test.ts",
  "test/doors/webhooks.test.ts",
  "test/faults/readiness.test.ts",
  "test/faults/backup.test.ts",
  "test/rollout/competing.test.ts",
  "test/faults/fleet.test.ts",
  "test/doors/long-calls.test.ts",
  "test/rollout/large-rollback.test.ts",
  "test/examples/examples.test.ts",
  "test/doors/webhook-mails.test.ts",
  "test/doors/alerts.test.ts",
  "test/faults/log-output.test.ts",
  "test/doors/waiting-checks.test.ts",
  "test/faults/webhooks.test.ts",
  "test/attacks/lying-service.test.ts",
  "test/attacks/oidc.test.ts",
  "test/faults/promotion-killed.test.ts",
  "test/rollout/simulation/simulation.test.ts",
].map((file) => join(import.meta.dirname, "../..", file));

/** The order of the files of a run: {@link longest}, then as Vitest has them, which knows only the runs on this machine. */
export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const gone = longest.filter((file) => !existsSync(file));
    if (gone.length > 0) throw new Error(`no longer there, so not among the longest: ${gone.join(", ")}`);
    const rest = await super.sort(files);
    const first = longest.flatMap((path) => rest.filter(({ moduleId }) => moduleId === path));
    return [...first, ...rest.filter((file) => !first.includes(file))];
  }
}
