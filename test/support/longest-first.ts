import { existsSync } from "node:fs";
import { join } from "node:path";
import { BaseSequencer, type TestSpecification } from "vitest/node";

/**
 * The files that take longest, the longest first. Begun last, as the size of a file says so little, one of them would keep
 * one worker busy while the others have nothing left to do.
 */
const longest = [
  "test/doors/hostile-values.test.ts",
  "test/faults/reconnect-storm.test.ts",
  "test/cli/service.test.ts",
  "test/cli/demo.test.ts",
  "test/cli/rollout.test.ts",
  "test/docs/snippets.test.ts",
  "test/faults/flush-steps.test.ts",
  "test/faults/process-death.test.ts",
  "test/faults/promotion-killed.test.ts",
  "test/faults/fleet.test.ts",
  "test/faults/large-fleet.test.ts",
  "test/faults/wrong-clock.test.ts",
  "test/rollout/small-fleets.test.ts",
  "test/rollout/clocks.test.ts",
  "test/rollout/large-rollback.test.ts",
  "test/rollout/fleet-of-2000/replica-killed.test.ts",
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
