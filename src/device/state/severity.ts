/** How bad an error is, least first. */
export const severities = ["UNSPECIFIED", "INFO", "WARNING", "ERROR", "CRITICAL"] as const;

/** How bad an error is. */
export type Severity = (typeof severities)[number];

/** The worse one of two. */
export function worseSeverity(a: Severity, b: Severity): Severity {
  return severities.indexOf(a) >= severities.indexOf(b) ? a : b;
}
