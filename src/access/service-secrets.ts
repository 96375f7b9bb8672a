import { randomBytes } from "node:crypto";
import type { Database } from "../infra/database/database.ts";

/**
 * The service's own secret for a purpose: 32 random bytes, made by the first replica that asks and read by all others,
 * so that what one signed another can check.
 */
export async function serviceSecret(database: Pick<Database, "adminPool">, purpose: string): Promise<Buffer> {
  const { adminPool } = database;
  await adminPool.query(
    "INSERT INTO service_secrets (purpose, secret) VALUES ($1, $2) ON CONFLICT DO NOTHING",
    [purpose, randomBytes(secretBytes)],
  );
  const { rows } = await adminPool.query<{ secret: Buffer }>(
    "SELECT secret FROM service_secrets WHERE purpose = $1",
    [purpose],
  );
  const [row] = rows;
  if (row === undefined) throw new Error(`the secret for ${purpose} is gone`);
  return row.secret;
}

const secretBytes = 32;
