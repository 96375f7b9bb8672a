import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";

const script = join(import.meta.dirname, "../../scripts/test-totals.ts");

interface Outcome {
  readonly fullName: string;
  readonly status: "passed" | "failed";
  readonly failureMessages: readonly string[];
}

const good: Outcome = { fullName: "works", status: "passed", failureMessages: [] };
const bad: Outcome = {
  fullName: "breaks",
  status: "failed",
  failureMessages: ["Error: wrong", "Error: wrong"],
};
const retried: Outcome = {
  fullName: "works at last",
  status: "passed",
  failureMessages: ["AssertionError: expected 1 to be 2\n    at somewhere"],
};

/** What the script says of one report a list of outcomes, and its exit code. */
function totals(...reports: (readonly Outcome[])[]) {
  const folder = mkdtempSync(join(tmpdir(), "totals-test-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  mkdirSync(join(folder, ".test-results"));
  for (const [index, outcomes] of reports.entries()) {
    const count = (status: string) => outcomes.filter((outcome) => outcome.status === status).length;
    const report = {
      numPassedTests: count("passed"),
      numFailedTests: count("failed"),
      testResults: [
        {
          name: join(folder, "test/some.test.ts"),
          status: count("failed") > 0 ? "failed" : "passed",
          assertionResults: outcomes,
        },
      ],
    };
    writeFileSync(join(folder, `.test-results/vitest-${index}.json`), JSON.stringify(report));
  }
  const { stdout, status } = spawnSync(process.execPath, [script], { cwd: folder, encoding: "utf8" });
  return { lines: stdout.trimEnd().split("\n"), status };
}

describe("test-totals", () => {
  it("adds the reports up", () => {
    expect(totals([good, good], [good])).toEqual({ lines: ["3 passed, 0 failed"], status: 0 });
    expect(totals([good], [bad])).toEqual({ lines: ["1 passed, 1 failed"], status: 1 });
  });

  it("fails without tests", () => {
    expect(totals()).toEqual({ lines: ["0 passed, 0 failed"], status: 1 });
  });

  it("counts and names the tests that passed only at a further try, above the totals", () => {
    expect(totals([good, retried], [retried])).toEqual({
      lines: [
        "2 passed only at a further try:",
        "  test/some.test.ts: works at last (AssertionError: expected 1 to be 2)",
        "  test/some.test.ts: works at last (AssertionError: expected 1 to be 2)",
        "3 passed, 0 failed",
      ],
      status: 0,
    });
  });
});
