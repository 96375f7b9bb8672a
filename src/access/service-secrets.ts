import { randomBytes } from "node:crypto";
import type { Database } from "../infra/database/database.ts";
import { sql } from "../infra/database/sql.ts";

/**
 * The service's own secret for a purpose: 32 random bytes, made by the first replica that asks and read by all others,
 * so that what one signed another can check.
 */
export async function serviceSecret({ pool }: Pick<Database, "pool">, purpose: string): Promise<Buffer> {
  await pool.run(insertSql, [purpose, randomBytes(secretBytes)]);
  const [row] = await pool.query<{ secret: Buffer }>(readSql, [purpose]);
  if (row === undefined) throw new Error(`the secret for ${purpose} is gone`);
  return row.secret;
}

const secretBytes = 32;

const insertSql = sql`INSERT INTO service_secrets (purpose, secret) VALUES ($1, $2) ON CONFLICT DO NOTHING`;

const readSql = sql`SELECT secret FROM service_secrets WHERE purpose = $1`;
