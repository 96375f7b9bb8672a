import { PassThrough, type Readable } from "node:stream";
import { OtaError } from "../errors.ts";
import type { ReadSession } from "../infra/database/session.ts";
import { sql } from "../infra/database/sql.ts";
import type { ObjectStore } from "../infra/objects/object-store.ts";
import { type BackupManifest, type BackupObject, type BackupTable, BackupWriter } from "./backup-folder.ts";
import { DatabaseSource } from "./database-source.ts";

/** What to back up. */
export interface BackupParts {
  /** Names the role that owns the tables. */
  readonly ownerUrl: string;
  /** Undefined: a store that is backed up by other means, such as a bucket with versions. */
  readonly store: ObjectStore | undefined;
  /** Where to; nothing may be there yet. */
  readonly folder: string;
  readonly serviceVersion: string;
  readonly signal: AbortSignal;
}

/**
 * Writes all tables as they are at one moment, and then the objects that they name. The service may run: its objects never
 * change, and one that is deleted meanwhile is missed by nobody but the backup. Such are in `gone`.
 */
export async function backUp(parts: BackupParts): Promise<{ manifest: BackupManifest; gone: string[] }> {
  const { store, signal } = parts;
  await using writer = await BackupWriter.open(parts.folder);
  const { named, ...copied } = await copyDatabase(parts, writer);
  const objects: BackupObject[] = [];
  const gone: string[] = [];
  if (store !== undefined) {
    for (const sha256 of named) {
      const content = await contentOf(store, sha256, signal);
      if (content === undefined) gone.push(sha256);
      else objects.push({ sha256, sizeBytes: await writer.writeObject(sha256, content, signal) });
    }
  }
  const manifest: BackupManifest = {
    format: 1,
    serviceVersion: parts.serviceVersion,
    ...copied,
    objects: store === undefined ? undefined : objects,
  };
  await writer.finish(manifest);
  return { manifest, gone };
}

/** Undefined for an object that is not there, or not any more. */
async function contentOf(
  store: ObjectStore,
  sha256: string,
  signal: AbortSignal,
): Promise<Readable | undefined> {
  try {
    return await store.read(sha256, { signal });
  } catch (error) {
    if (error instanceof OtaError && error.code === "not_found") return undefined;
    throw error;
  }
}

type CopiedDatabase = Pick<BackupManifest, "takenAt" | "migrations" | "sequences" | "tables">;

/** The transaction ends with it: the contents of a large store take long. */
async function copyDatabase(
  { ownerUrl, signal }: BackupParts,
  writer: BackupWriter,
): Promise<CopiedDatabase & { named: string[] }> {
  await using source = await DatabaseSource.open(ownerUrl);
  const [moment] = await source.session.query<{ now: Date }>(nowSql);
  const named = await namedObjects(source.session);
  const tables: BackupTable[] = [];
  for (const table of source.tables) {
    const count = { rows: 0 };
    const sha256 = await writer.writeTable(table.name, counted(source.rowsOf(table), count), signal);
    tables.push({ ...table, rows: count.rows, sha256 });
  }
  const { migrations, sequences } = source;
  return { takenAt: (moment?.now ?? new Date()).toISOString(), migrations, sequences, tables, named };
}

/** In PostgreSQL's text format a line feed ends a row, and never stands within one. */
function counted(rows: Readable, count: { rows: number }): Readable {
  const through = new PassThrough();
  through.on("data", (chunk: Buffer) => {
    for (let at = chunk.indexOf(lineFeed); at !== -1; at = chunk.indexOf(lineFeed, at + 1)) count.rows++;
  });
  rows.on("error", (error) => through.destroy(error));
  return rows.pipe(through);
}

const lineFeed = 0x0a;

/** The digests of all contents that rows refer to. A draft's has not arrived yet. */
async function namedObjects(session: ReadSession): Promise<string[]> {
  const rows = await session.query<{ sha256: string }>(namedObjectsSql);
  return rows.map(({ sha256 }) => sha256);
}

const nowSql = sql`SELECT now() AS now`;

const namedObjectsSql = sql`
  SELECT sha256 FROM firmware_updates WHERE state <> 'DRAFT' AND NOT is_deleted
   UNION SELECT object_sha256 FROM crash_logs WHERE stored_at IS NOT NULL
   UNION SELECT object_sha256 FROM symbol_files
   UNION SELECT a.sha256 FROM firmware_attachments a JOIN firmware_updates f ON f.id = a.firmware_id WHERE NOT f.is_deleted
   ORDER BY 1`;
