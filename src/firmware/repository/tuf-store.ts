import { generateKeyPairSync } from "node:crypto";
import { notFound } from "../../errors.ts";
import type { ReadSession, Session } from "../../infra/database/session.ts";
import { sql } from "../../infra/database/sql.ts";
import { tufKeyOf } from "../../tuf/tuf-key.ts";
import type { TufMetadata, TufRole } from "../../tuf/tuf-metadata.ts";

/** The newest metadata of a role, as it is stored. */
export interface StoredMetadata {
  readonly role: TufRole;
  readonly version: number;
  readonly bytes: Uint8Array;
  readonly expiresAt: Date;
}

/** A key of the service for snapshot and timestamp. */
export interface OnlineKey {
  readonly id: string;
  readonly privateKeyPem: string;
  readonly publicKeyPem: string;
}

/** Locks a product's repository until the transaction ends. `NOT_FOUND` if it has none. */
export async function lockRepository(session: Session, product: string): Promise<void> {
  if ((await session.query(lockSql, [product])).length === 0) throw notFound("TUF repository", product);
}

/** Makes the repository of a product if there is none, and locks it. */
export async function makeRepository(session: Session, product: string): Promise<void> {
  await session.run(makeSql, [product]);
  await lockRepository(session, product);
}

/** The newest metadata of each role that has some. */
export async function newestMetadata(
  session: ReadSession,
  product: string,
): Promise<ReadonlyMap<TufRole, StoredMetadata>> {
  const rows = await session.query<StoredRow>(newestSql, [product]);
  return new Map(rows.map((row) => [row.role, storedOf(row)]));
}

/** The file of a role in a version, or the newest one; undefined if there is none. */
export async function storedMetadata(
  session: ReadSession,
  { product, role, version }: { product: string; role: TufRole; version: number | undefined },
): Promise<Uint8Array | undefined> {
  const [row] = await session.query<{ content: Buffer }>(fileSql, [product, role, version ?? null]);
  return row?.content;
}

/** Adds metadata; of those that are followed by it, only so many stay, for clients that are just reading. */
export async function addMetadata(
  session: Session,
  product: string,
  { role, version, bytes, expiresAt }: Omit<TufMetadata, "metadata">,
): Promise<void> {
  await session.run(addSql, [product, role, version, Buffer.from(bytes), expiresAt]);
  const kept = keptVersions[role];
  if (kept !== undefined) await session.run(forgetSql, [product, role, version - kept]);
}

/** The service's keys of a product. */
export async function onlineKeys(session: ReadSession, product: string): Promise<OnlineKey[]> {
  return session.query<OnlineKey>(keysSql, [product]);
}

/** Makes a further key of the service. */
export async function addOnlineKey(session: Session, product: string): Promise<OnlineKey> {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519", {
    privateKeyEncoding: { type: "pkcs8", format: "pem" },
    publicKeyEncoding: { type: "spki", format: "pem" },
  });
  const id = tufKeyOf(publicKey).keyID;
  await session.run(addKeySql, [id, product, privateKey, publicKey]);
  return { id, privateKeyPem: privateKey, publicKeyPem: publicKey };
}

/** Deletes keys of the service. */
export async function deleteOnlineKeys(session: Session, ids: readonly string[]): Promise<void> {
  await session.run(deleteKeysSql, [ids]);
}

/** The products with targets whose timestamp ends by then, or that have none, in the order of names. */
export async function productsToRefresh(session: ReadSession, endsBefore: Date): Promise<string[]> {
  const rows = await session.query<{ product: string }>(toRefreshSql, [endsBefore]);
  return rows.map(({ product }) => product);
}

/** How many versions stay; of the others, all. */
const keptVersions: Partial<Record<TufRole, number>> = { timestamp: 1, snapshot: 5, targets: 5 };

interface StoredRow {
  readonly role: TufRole;
  readonly version: number;
  readonly content: Buffer;
  readonly expiresMs: number;
}

function storedOf({ role, version, content, expiresMs }: StoredRow): StoredMetadata {
  return { role, version, bytes: content, expiresAt: new Date(expiresMs) };
}

const lockSql = sql`SELECT product FROM tuf_repositories WHERE product = $1 FOR UPDATE`;

const makeSql = sql`INSERT INTO tuf_repositories (product) VALUES ($1) ON CONFLICT DO NOTHING`;

const newestSql = sql`
  SELECT DISTINCT ON (role) role, version, content, (extract(epoch FROM expires_at) * 1000)::float8 AS "expiresMs"
    FROM tuf_metadata WHERE product = $1 ORDER BY role, version DESC`;

const fileSql = sql`
  SELECT content FROM tuf_metadata WHERE product = $1 AND role = $2 AND ($3::int IS NULL OR version = $3::int)
   ORDER BY version DESC LIMIT 1`;

const addSql = sql`
  INSERT INTO tuf_metadata (product, role, version, content, expires_at) VALUES ($1, $2, $3, $4, $5)`;

const forgetSql = sql`DELETE FROM tuf_metadata WHERE product = $1 AND role = $2 AND version <= $3`;

const keysSql = sql`
  SELECT id, private_key_pem AS "privateKeyPem", public_key_pem AS "publicKeyPem"
    FROM tuf_online_keys WHERE product = $1 ORDER BY created_at, id`;

const addKeySql = sql`
  INSERT INTO tuf_online_keys (id, product, private_key_pem, public_key_pem) VALUES ($1, $2, $3, $4)`;

const deleteKeysSql = sql`DELETE FROM tuf_online_keys WHERE id = ANY ($1::text[])`;

const toRefreshSql = sql`
  SELECT t.product FROM (SELECT DISTINCT product FROM tuf_metadata WHERE role = 'targets') t
   WHERE NOT EXISTS (SELECT FROM tuf_metadata s WHERE s.product = t.product AND s.role = 'timestamp' AND s.expires_at > $1)
   ORDER BY t.product`;
