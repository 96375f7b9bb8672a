/** What an expression captures first in the first of the lines that it fits; undefined if it fits none. */
export function firstGroup(lines: readonly string[], expression: RegExp): string | undefined {
  for (const line of lines) {
    const found = expression.exec(line)?.[1];
    if (found !== undefined) return found;
  }
  return undefined;
}
