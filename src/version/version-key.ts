import { semanticVersion } from "./semantic-version.ts";

/**
 * A text that sorts, character by character, as the semantic version does (https://semver.org, item 11); undefined for
 * what is no version. Build metadata and a leading `v` are left out. The SQL function `semver_key` makes the same text.
 *
 * Numbers stand behind their length, which sorts them without zeros in front. Of identifiers numbers come first, the
 * separator sorts before every character of an identifier, and the mark of a release after every prerelease.
 */
export function versionKey(version: string): string | undefined {
  const { major, minor, patch, prerelease } = semanticVersion.exec(version)?.groups ?? {};
  if (major === undefined || minor === undefined || patch === undefined) return undefined;
  const core = numberKey(major) + numberKey(minor) + numberKey(patch);
  return core + (prerelease === undefined ? releaseMark : prerelease.split(".").map(identifierKey).join(" "));
}

/**
 * A text that is the same for two texts if, and only if, they name the same version: those of equal precedence, and of
 * what is no semantic version the very same characters. The SQL function `version_identity` makes the same text.
 */
export function versionIdentity(text: string): string {
  return versionKey(text) ?? `=${text}`;
}

const releaseMark = "~";

function numberKey(digits: string): string {
  return String(digits.length).padStart(3, "0") + digits;
}

function identifierKey(identifier: string): string {
  return /^\d+$/.test(identifier) ? `0${numberKey(identifier)}` : `1${identifier}`;
}
