/** The alert of a rollout with devices that must not be taken back, as an SQL expression over their number. */
export function blockedAlertSql(count: string): string {
  return `(${count})::text || ' devices must not be taken back; their updates say why'`;
}
