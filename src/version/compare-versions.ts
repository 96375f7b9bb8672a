import { versionIdentity } from "./version-key.ts";

/**
 * Orders versions, oldest first: semantic versions by precedence (https://semver.org, item 11), so that build metadata and a
 * leading `v` count for nothing; other texts by the same rules as far as they go, part by part. Any two texts can be compared;
 * which of two is newer is known only of semantic versions.
 */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [split(a), split(b)];
  return (
    compareParts(left.core, right.core) ||
    // A pre-release comes before what it becomes.
    Number(left.pre.length === 0) - Number(right.pre.length === 0) ||
    compareParts(left.pre, right.pre)
  );
}

/** Whether two texts name the same version: of equal precedence, or, where one is no semantic version, the same text. */
export function isSameVersion(a: string, b: string): boolean {
  return a === b || versionIdentity(a) === versionIdentity(b);
}

function split(version: string): { readonly core: readonly string[]; readonly pre: readonly string[] } {
  const [text = ""] = version.replace(/^[vV](?=\d)/, "").split("+");
  const [core = "", ...pre] = text.split("-");
  return { core: core.split("."), pre: pre.length === 0 ? [] : pre.join("-").split(".") };
}

function compareParts(a: readonly string[], b: readonly string[]): number {
  for (let index = 0; index < Math.max(a.length, b.length); index++) {
    const [left, right] = [a[index], b[index]];
    if (left === undefined || right === undefined) return left === undefined ? -1 : 1;
    const order = comparePart(left, right);
    if (order !== 0) return order;
  }
  return 0;
}

/** Numbers of any length by value and before other identifiers, which are compared by their characters. */
function comparePart(a: string, b: string): number {
  const [left, right] = [digitsOf(a), digitsOf(b)];
  if (left !== undefined && right !== undefined)
    return left.length - right.length || compareText(left, right);
  if (left !== undefined || right !== undefined) return left === undefined ? 1 : -1;
  return compareText(a, b);
}

function digitsOf(part: string): string | undefined {
  return /^\d+$/.test(part) ? part.replace(/^0+(?=\d)/, "") : undefined;
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
