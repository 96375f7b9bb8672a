/**
 * The grammar of semantic versions (https://semver.org, 2.0.0) with the `v` or `V` in front that tags and devices write; it
 * is no part of the version. Numbers have at most 16 digits.
 */
export const semanticVersion =
  /^[vV]?(?<major>0|[1-9]\d{0,15})\.(?<minor>0|[1-9]\d{0,15})\.(?<patch>0|[1-9]\d{0,15})(?:-(?<prerelease>(?:0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*)(?:\.(?:0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*))*))?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?$/;

/** Whether a text is a semantic version, with or without a leading `v` and build metadata. */
export function isSemanticVersion(text: string): boolean {
  return semanticVersion.test(text);
}

/** The semantic version without leading `v` and build metadata: one text for all of equal precedence. Undefined for others. */
export function canonicalVersion(text: string): string | undefined {
  const { major, minor, patch, prerelease } = semanticVersion.exec(text)?.groups ?? {};
  if (major === undefined) return undefined;
  return `${major}.${minor}.${patch}${prerelease === undefined ? "" : `-${prerelease}`}`;
}
