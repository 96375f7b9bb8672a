// Adds up the JSON reports that the test runners left in .test-results/ and prints `N passed, N failed`. Fails if no
// test ran or one failed, so that a run without tests can never look like a good one.

import { existsSync, globSync, readFileSync } from "node:fs";

interface VitestReport {
  numPassedTests: number;
  numFailedTests: number;
  testResults: { status: string; assertionResults: { status: string }[] }[];
}

const folder = ".test-results";
const reports = existsSync(folder) ? globSync(`${folder}/*.json`) : [];

let passed = 0;
let failed = 0;
for (const path of reports) {
  const report = JSON.parse(readFileSync(path, "utf8")) as VitestReport;
  passed += report.numPassedTests;
  failed += report.numFailedTests + filesThatFailedAsAWhole(report);
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
