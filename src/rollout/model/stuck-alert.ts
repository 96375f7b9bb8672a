/** The alert of a rollout that cannot go on by itself; `why` says what it needs, and who can do it. */
export function stuckAlert(why: string): string {
  return `${stuckPrefix}: ${why}`;
}

/** Whether an alert is one of {@link stuckAlert}. */
export function isStuckAlert(alert: string): boolean {
  return alert.startsWith(stuckPrefix);
}

/** How each {@link stuckAlert} begins. */
export const stuckPrefix = "it cannot go on by itself";
