import { compareVersions } from "../version/compare-versions.ts";
import { isSemanticVersion } from "../version/semantic-version.ts";

/** Whether a version is higher than another by semantic versioning. What is no semantic version is higher than nothing. */
export function isHigherVersion(version: string, than: string): boolean {
  if (!isSemanticVersion(version)) return false;
  return !isSemanticVersion(than) || compareVersions(version, than) > 0;
}

/** Whether both are semantic versions and the first is the higher one. */
export function isSurelyHigher(version: string, than: string): boolean {
  return isSemanticVersion(than) && isHigherVersion(version, than);
}
