import { configDefaults, defineConfig } from "vitest/config";
import { LongestFirst } from "./test/support/longest-first.ts";

/** What plays rollouts in memory needs no database. */
const planned = ["test/rollout/stories.test.ts", "test/rollout/simulation/**/*.test.ts"];

export default defineConfig({
  test: {
    // CI adds its totals up from the reports, one for each run.
    reporters: process.env.CI
      ? ["default", ["json", { outputFile: `.test-results/vitest-${process.pid}.json` }]]
      : ["default"],
    restoreMocks: true,
    // A worker loads the service once, not for each of its files: two fifths of the suite's processor time.
    isolate: false,
    // Faults, kills and real sockets race with the machine's other work: in CI a test may have three goes.
    // scripts/test-totals.ts names those that needed it.
    retry: process.env.CI ? 2 : 0,
    sequence: { sequencer: LongestFirst },
    expect: { requireAssertions: true, poll: { timeout: 180_000 } },
    // Only against a hang: real services, several at once, on a machine that may have ten times as much to do.
    testTimeout: 600_000,
    hookTimeout: 600_000,
    coverage: {
      provider: "v8",
      include: ["src/**/*.ts"],
      exclude: ["src/**/*.test.ts", "src/main.ts", "src/console/**"],
      reporter: ["text-summary", "html"],
    },
    projects: [
      {
        extends: true,
        // One kind after the other, as each has its own number of workers.
        test: { name: "unit", include: ["src/**/*.test.ts", ...planned], sequence: { groupOrder: 0 } },
      },
      {
        extends: true,
        test: {
          name: "integration",
          sequence: { groupOrder: 1 },
          include: ["test/**/*.test.ts"],
          exclude: [...configDefaults.exclude, "test/console/**", "test/install/fresh/**", ...planned],
          globalSetup: ["test/support/global-setup.ts"],
          // Each file may run a server, and all share one PostgreSQL. Files wait a lot, for processes and for time to pass: four of
          // them keep two cores busy for two thirds of the time.
          maxWorkers: 6,
        },
      },
      {
        extends: true,
        // Installs from the registry, for a minute or two.
        test: {
          name: "fresh",
          sequence: { groupOrder: 2 },
          include: ["test/install/fresh/**/*.test.ts"],
          testTimeout: 600_000,
          hookTimeout: 600_000,
        },
      },
      {
        extends: true,
        test: {
          name: "browser",
          sequence: { groupOrder: 3 },
          include: ["test/console/**/*.test.ts"],
          globalSetup: ["test/support/global-setup.ts"],
          // A service, a fleet and a browser are enough for a small machine.
          maxWorkers: 1,
        },
      },
    ],
  },
});
