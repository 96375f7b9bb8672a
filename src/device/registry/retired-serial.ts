import type { EntityManager } from "@mikro-orm/postgresql";
import { sessionOf } from "../../infra/database/session.ts";
import { sql } from "../../infra/database/sql.ts";
import { deviceRetired } from "./enrolment-refusals.ts";

/**
 * Uses up an operator's leave for a new device under the serial number of a retired one; there is nothing to use up if none was
 * retired. Call it in the transaction that inserts the device, after the insert: then no retirement comes in between. Throws
 * `DEVICE_RETIRED` without such leave.
 */
export async function requireNotRetired(em: EntityManager, serialNumber: string, now: Date): Promise<void> {
  const session = sessionOf(em);
  const [retired] = await session.query<{ id: string; enrol_until: Date | null }>(newestSql, [serialNumber]);
  if (retired === undefined) return;
  if (retired.enrol_until === null || retired.enrol_until <= now) throw deviceRetired(serialNumber);
  await session.run(usedSql, [retired.id]);
}

const newestSql = sql`
  SELECT id, enrol_until FROM devices
   WHERE serial_number COLLATE "C" = $1 AND is_deleted ORDER BY id DESC LIMIT 1`;

const usedSql = sql`UPDATE devices SET enrol_until = NULL WHERE id = $1`;
