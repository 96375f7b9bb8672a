import type { Session } from "../infra/database/session.ts";
import { sql } from "../infra/database/sql.ts";

/** Until the transaction's end, what a copied text stands for does not depend on how the server or the role are set up. */
export async function setCopyFormat(session: Session): Promise<void> {
  await session.run(datesSql);
  await session.run(intervalsSql);
}

const datesSql = sql`SET LOCAL datestyle = 'ISO, YMD'`;
const intervalsSql = sql`SET LOCAL intervalstyle = 'postgres'`;
