// Adds up the JSON reports that the test runners left in .test-results/: names each test that passed only at a further
// try, and ends with `N passed, N failed`. Fails if no test ran or one failed, so that a run without tests can never look
// like a good one.

import { existsSync, globSync, readFileSync } from "node:fs";
import { relative } from "node:path";

interface VitestReport {
  numPassedTests: number;
  numFailedTests: number;
  testResults: FileReport[];
}

interface FileReport {
  name: string;
  status: string;
  assertionResults: { status: string; fullName: string; failureMessages: string[] }[];
}

const folder = ".test-results";
const reports = existsSync(folder) ? globSync(`${folder}/*.json`) : [];

let passed = 0;
let failed = 0;
const retried: string[] = [];
for (const path of reports) {
  const report = JSON.parse(readFileSync(path, "utf8")) as VitestReport;
  passed += report.numPassedTests;
  failed += report.numFailedTests + filesThatFailedAsAWhole(report);
  retried.push(...report.testResults.flatMap(retriedTests));
}

if (retried.length > 0) {
  console.log(`${retried.length} passed only at a further try:`);
  for (const test of retried) console.log(`  ${test}`);
}

console.log(`${passed} passed, ${failed} failed`);
process.exitCode = passed > 0 && failed === 0 ? 0 : 1;

/** A file that cannot be loaded, or whose set-up fails, has no failed test to count but is a failure all the same. */
function filesThatFailedAsAWhole(report: VitestReport): number {
  return report.testResults.filter(
    (file) =>
      file.status === "failed" && !file.assertionResults.some((assertion) => assertion.status === "failed"),
  ).length;
}

/** Tests that passed after a failure, each with its file and the first line of why it had failed. */
function retriedTests(file: FileReport): string[] {
  return file.assertionResults
    .filter((test) => test.status === "passed" && test.failureMessages.length > 0)
    .map((test) => {
      const [reason] = (test.failureMessages[0] ?? "").split("\n");
      return `${relative(process.cwd(), file.name)}: ${test.fullName} (${reason})`;
    });
}
