import { createHash } from "node:crypto";
import { buffer } from "node:stream/consumers";
import { v7 as uuidv7 } from "uuid";
import type { AuditLog } from "../../access/audit-log.ts";
import { invalidArgument, notFound, OtaError } from "../../errors.ts";
import type { Database } from "../../infra/database/database.ts";
import type { Pool } from "../../infra/database/pool.ts";
import { sql } from "../../infra/database/sql.ts";
import { uploadIdleLimit, withIdleLimit } from "../../infra/objects/idle-limit.ts";
import type { ObjectStore } from "../../infra/objects/object-store.ts";
import { ElfError, type ReadBytes, readElf } from "./elf-file.ts";

/** An ELF file with symbols, as it was uploaded. */
export interface SymbolFile {
  readonly id: string;
  /** GNU build id in lower-case hexadecimal; empty if the file has none. */
  readonly buildId: string;
  /** Of the file: what ESP-IDF prints as the digest of the ELF file. */
  readonly sha256: string;
  readonly fileName: string;
  readonly sizeBytes: number;
  readonly functionCount: number;
  readonly createdBy: string;
  readonly createdAt: Date;
}

/** What {@link SymbolFiles} is made of. */
export interface SymbolFilesParts {
  readonly database: Pick<Database, "transact" | "pool">;
  readonly audit: AuditLog;
  readonly store: ObjectStore;
}

/** The most bytes of a symbol file. */
export const maxSymbolFileBytes = 512 * 1024 * 1024;

/** ELF files in the object store, by which raw addresses get the names of functions. */
export class SymbolFiles {
  readonly #parts: SymbolFilesParts;
  readonly #pool: Pool;
  #receiving = 0;

  constructor(parts: SymbolFilesParts) {
    this.#parts = parts;
    this.#pool = parts.database.pool;
  }

  /** All files, the newest first; at most {@link maxFiles}. */
  async list(): Promise<SymbolFile[]> {
    return (await this.#pool.query<SymbolFileRow>(listSql, [maxFiles])).map(fileOf);
  }

  /**
   * Stores a file; one that is stored already is returned. Throws `INVALID_ARGUMENT` for what is no ELF file or has no symbols, and
   * `QUEUE_FULL` beyond {@link maxFiles} files or {@link maxReceiving} on their way at once, and `DEADLINE_EXCEEDED` for one of
   * which nothing comes for as long as {@link uploadIdleLimit} says.
   */
  async receive(
    { actor, fileName }: { readonly actor: string; readonly fileName: string },
    chunks: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
  ): Promise<SymbolFile> {
    if (this.#receiving >= maxReceiving) throw tooMany(`${maxReceiving} symbol files are being uploaded`);
    this.#receiving++;
    try {
      return await this.#store(actor, fileName, chunks, signal);
    } finally {
      this.#receiving--;
    }
  }

  /** Removes a file with its object. Groups that were made with its names stay. Throws `NOT_FOUND`. */
  async delete(id: string, actor: string, reason: string): Promise<void> {
    const { database, audit, store } = this.#parts;
    const object = await database.transact(async (em, session) => {
      const [row] = await session.query<SymbolFileRow>(deleteSql, [id]);
      if (row === undefined) throw notFound("symbol file", id);
      await audit.record(em, {
        actor,
        action: "symbol_file.delete",
        resourceType: "symbol_file",
        resourceId: id,
        reason,
        details: { build_id: row.build_id, sha256: row.sha256 },
      });
      return row.object_sha256;
    });
    await store.delete(object);
  }

  async #store(
    actor: string,
    fileName: string,
    chunks: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
  ): Promise<SymbolFile> {
    const { store, database, audit } = this.#parts;
    const id = uuidv7();
    const digest = createHash("sha256");
    const arriving = withIdleLimit(chunks, uploadIdleLimit, signal);
    // Behind its id, so that no other object, be it firmware, has the same bytes and goes with it.
    const { sha256: object, sizeBytes } = await store.put(behindId(id, arriving, digest), {
      maxBytes: maxSymbolFileBytes + headBytes,
      signal,
    });
    const sha256 = digest.digest("hex");
    try {
      const { buildId, functions } = await readElf(reader(store, object));
      return await database.transact(async (em, session) => {
        await session.run(lockSql);
        const [known] = await session.query<SymbolFileRow>(knownSql, [sha256]);
        if (known !== undefined) {
          await store.delete(object);
          return fileOf(known);
        }
        const [{ count } = { count: 0 }] = await session.query<{ count: number }>(countSql);
        if (count >= maxFiles) throw tooMany(`there are ${maxFiles} symbol files already: delete some first`);
        const values = [id, buildId, sha256, fileName, sizeBytes - headBytes, functions.size, object, actor];
        const [row] = await session.query<SymbolFileRow>(insertSql, values);
        if (row === undefined) throw new Error("an inserted symbol file was not returned");
        await audit.record(em, {
          actor,
          action: "symbol_file.create",
          resourceType: "symbol_file",
          resourceId: id,
          reason: "",
          details: { build_id: buildId, sha256, file_name: fileName },
        });
        return fileOf(row);
      });
    } catch (error) {
      await store.delete(object).catch(() => undefined);
      throw error instanceof ElfError ? invalidArgument("data", error.message) : error;
    }
  }
}

/** Bytes of an object, behind the id that it begins with. */
export function reader(store: ObjectStore, object: string): ReadBytes {
  return async (offset, length) =>
    await buffer(await store.read(object, { offset: offset + headBytes, length }));
}

/** Builds of a product that is shipped weekly, for years. */
const maxFiles = 1_000;

const maxReceiving = 4;

/** An id and a line feed. */
export const headBytes = 37;

async function* behindId(
  id: string,
  chunks: AsyncIterable<Uint8Array>,
  digest: { update(data: Uint8Array): unknown },
): AsyncGenerator<Uint8Array> {
  yield Buffer.from(`${id}\n`, "latin1");
  for await (const chunk of chunks) {
    digest.update(chunk);
    yield chunk;
  }
}

interface SymbolFileRow {
  readonly id: string;
  readonly build_id: string;
  readonly sha256: string;
  readonly file_name: string;
  readonly size_bytes: string;
  readonly function_count: string;
  readonly object_sha256: string;
  readonly created_by: string;
  readonly created_at: Date;
}

function fileOf(row: SymbolFileRow): SymbolFile {
  return {
    id: row.id,
    buildId: row.build_id,
    sha256: row.sha256,
    fileName: row.file_name,
    sizeBytes: Number(row.size_bytes),
    functionCount: Number(row.function_count),
    createdBy: row.created_by,
    createdAt: row.created_at,
  };
}

function tooMany(message: string): OtaError {
  return new OtaError("resource_exhausted", "QUEUE_FULL", message, { retryAfterMs: 5_000 });
}

const listSql = sql`SELECT * FROM symbol_files ORDER BY created_at DESC, id DESC LIMIT $1`;

const lockSql = sql`LOCK TABLE symbol_files IN SHARE ROW EXCLUSIVE MODE`;

const knownSql = sql`SELECT * FROM symbol_files WHERE sha256 = $1`;

const countSql = sql`SELECT count(*)::float8 AS count FROM symbol_files`;

const insertSql = sql`
  INSERT INTO symbol_files (id, build_id, sha256, file_name, size_bytes, function_count, object_sha256, created_by)
  VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING *`;

const deleteSql = sql`DELETE FROM symbol_files WHERE id = $1 RETURNING *`;
