/** The alert of a rollout that cannot go on by itself; `why` says what it needs, and who can do it. */
export function stuckAlert(why: string): string {
  return `${prefix}: ${why}`;
}

/** Whether an alert is one of {@link stuckAlert}. */
export function isStuckAlert(alert: string): boolean {
  return alert.startsWith(prefix);
}

const prefix = "it cannot go on by itself";
