import { sql } from "../../infra/database/sql.ts";

/**
 * How far a device is let in. `quarantined`: it is heard, and offered nothing. `blocked`: nothing of it is let in. Who is both is
 * blocked, and in quarantine again once it is not.
 */
export type Standing = "admitted" | "quarantined" | "blocked";

/** The standing of a row of devices. */
export function standingOf(device: {
  readonly blockedAt: Date | null;
  readonly quarantinedAt: Date | null;
}): Standing {
  if (device.blockedAt !== null) return "blocked";
  return device.quarantinedAt === null ? "admitted" : "quarantined";
}

/** The same of the table `devices` under the name `d`. */
export const standingSql = sql`(CASE WHEN d.blocked_at IS NOT NULL THEN 'blocked'
  WHEN d.quarantined_at IS NOT NULL THEN 'quarantined' ELSE 'admitted' END)`;
