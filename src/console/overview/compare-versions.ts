/** Orders semantic versions, oldest first (semver.org, section 11, without the build part); other texts by their parts. */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [split(a), split(b)];
  return (
    compareParts(left.core, right.core) ||
    // A pre-release comes before what it becomes.
    Number(left.pre.length === 0) - Number(right.pre.length === 0) ||
    compareParts(left.pre, right.pre)
  );
}

function split(version: string): { readonly core: readonly string[]; readonly pre: readonly string[] } {
  const [core = "", ...pre] = (version.split("+")[0] ?? "").split("-");
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

function comparePart(a: string, b: string): number {
  const [left, right] = [Number(a), Number(b)];
  const [isNumber, isOther] = [Number.isInteger(left), Number.isInteger(right)];
  if (isNumber && isOther) return left - right;
  if (isNumber !== isOther) return isNumber ? -1 : 1;
  return a < b ? -1 : a > b ? 1 : 0;
}
