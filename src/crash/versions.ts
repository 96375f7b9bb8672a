import { compare, valid } from "semver";

/** Whether a version is higher than another by semantic versioning. What is no semantic version is higher than nothing. */
export function isHigherVersion(version: string, than: string): boolean {
  if (valid(version) === null) return false;
  return valid(than) === null || compare(version, than) > 0;
}

/** Whether both are semantic versions and the first is the higher one. */
export function isSurelyHigher(version: string, than: string): boolean {
  return valid(than) !== null && isHigherVersion(version, than);
}
