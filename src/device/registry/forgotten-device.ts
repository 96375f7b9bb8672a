import type { EntityManager } from "@mikro-orm/postgresql";
import { sessionOf } from "../../infra/database/session.ts";
import { sql } from "../../infra/database/sql.ts";
import { deviceKnown } from "./enrolment-refusals.ts";

/**
 * Throws `DEVICE_KNOWN` if there is, or ever was, a device of that id here, in whatever state: then its credential was not lost in a restore,
 * and only an operator lets it in again. Nothing is asked of a device that does not say which one it was.
 */
export async function requireForgotten(em: EntityManager, formerDeviceId: string): Promise<void> {
  if (formerDeviceId === "") return;
  const known = await sessionOf(em).query(knownSql, [formerDeviceId]);
  if (known.length > 0) throw deviceKnown(formerDeviceId);
}

const knownSql = sql`SELECT 1 FROM devices WHERE id = $1::uuid`;
