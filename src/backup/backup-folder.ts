import { createHash } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { mkdir, readFile, rename, rm, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { PassThrough, type Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip, createGzip } from "node:zlib";
import { syncFolder } from "../infra/objects/durable-folder.ts";
import type { CopiedSchema } from "./database-target.ts";
import type { CopiedTable } from "./table-catalog.ts";

/**
 * A backup is a folder, private to its user, for it holds the service's secrets:
 *
 *     backup.json          what is in it
 *     tables/NAME.copy.gz  the rows of a table, in PostgreSQL's text format
 *     objects/SHA256       the contents of firmware, crash logs and symbol files
 *
 * It depends neither on PostgreSQL's version nor on the machine. While it is written it has another name.
 */
export interface BackupManifest extends CopiedSchema {
  readonly format: 1;
  /** The service that made it. */
  readonly serviceVersion: string;
  /** The moment of which it is, as RFC 3339. */
  readonly takenAt: string;
  readonly tables: readonly BackupTable[];
  /** Undefined: it was made without them. */
  readonly objects: readonly BackupObject[] | undefined;
}

/** The rows of one table. */
export interface BackupTable extends CopiedTable {
  readonly rows: number;
  /** SHA-256 of the file, in hexadecimal digits. */
  readonly sha256: string;
}

/** A content of the store, by its digest. */
export interface BackupObject {
  readonly sha256: string;
  readonly sizeBytes: number;
}

/** A backup in the making. Disposing of it removes what is not finished. */
export class BackupWriter implements AsyncDisposable {
  readonly #folder: string;
  readonly #partial: string;

  /** Throws with words if there is something at the place already. */
  static async open(folder: string): Promise<BackupWriter> {
    const wanted = resolve(folder);
    if (await exists(wanted)) throw new Error(`${wanted} exists; it is not overwritten`);
    const partial = `${wanted}.partial-${process.pid}`;
    for (const name of ["tables", "objects"])
      await mkdir(join(partial, name), { recursive: true, mode: 0o700 });
    return new BackupWriter(wanted, partial);
  }

  private constructor(folder: string, partial: string) {
    this.#folder = folder;
    this.#partial = partial;
  }

  /** Writes the rows; returns the digest of the file. */
  async writeTable(name: string, rows: Readable, signal: AbortSignal): Promise<string> {
    const digest = createHash("sha256");
    await pipeline(
      rows,
      createGzip(),
      digesting(digest),
      createWriteStream(tablePath(this.#partial, name), writeOptions),
      { signal },
    );
    return digest.digest("hex");
  }

  /** Writes a content, and throws unless its bytes are what its name says; returns how many they are. */
  async writeObject(sha256: string, content: Readable, signal: AbortSignal): Promise<number> {
    const digest = createHash("sha256");
    const file = createWriteStream(objectPath(this.#partial, sha256), writeOptions);
    await pipeline(content, digesting(digest), file, { signal });
    if (digest.digest("hex") !== sha256)
      throw new Error(`the object ${sha256} is damaged in the store: its bytes have another digest`);
    return file.bytesWritten;
  }

  /** Gives the folder its name, once all of it is on the disk. */
  async finish(manifest: BackupManifest): Promise<void> {
    await pipeline(
      [`${JSON.stringify(manifest, undefined, 2)}\n`],
      createWriteStream(join(this.#partial, manifestName), writeOptions),
    );
    for (const name of ["tables", "objects", "."]) await syncFolder(join(this.#partial, name));
    await rename(this.#partial, this.#folder);
    await syncFolder(dirname(this.#folder));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#partial, { recursive: true, force: true });
  }
}

/** A finished backup. */
export class BackupReader {
  readonly manifest: BackupManifest;
  readonly #folder: string;

  /** Reads what is in it. Throws with words if it is no backup, or one of a later format. */
  static async open(folder: string): Promise<BackupReader> {
    const path = join(resolve(folder), manifestName);
    const text = await readFile(path, "utf8").catch((cause: unknown) => {
      throw new Error(`${folder} is no backup: ${path} cannot be read`, { cause });
    });
    const manifest = JSON.parse(text) as BackupManifest;
    if (manifest.format !== 1)
      throw new Error(
        `${folder} has the format ${String(manifest.format)}, which this version does not know`,
      );
    return new BackupReader(resolve(folder), manifest);
  }

  private constructor(folder: string, manifest: BackupManifest) {
    this.#folder = folder;
    this.manifest = manifest;
  }

  /** Reads all files, and throws with the name of the first that is not as it was written. */
  async verify(signal: AbortSignal): Promise<void> {
    const { tables, objects = [] } = this.manifest;
    for (const { name, sha256 } of tables) await verifyFile(tablePath(this.#folder, name), sha256, signal);
    for (const { sha256 } of objects) await verifyFile(objectPath(this.#folder, sha256), sha256, signal);
  }

  /** The rows of a table in PostgreSQL's text format. */
  rowsOf(table: BackupTable): Readable {
    const file = createReadStream(tablePath(this.#folder, table.name));
    const rows = createGunzip();
    file.on("error", (error) => rows.destroy(error));
    return file.pipe(rows);
  }

  content({ sha256 }: BackupObject): Readable {
    return createReadStream(objectPath(this.#folder, sha256));
  }
}

const manifestName = "backup.json";

/** Written through to the disk before it is closed; never over another file. */
const writeOptions = { mode: 0o600, flags: "wx", flush: true } as const;

const tablePath = (folder: string, name: string) => join(folder, "tables", `${name}.copy.gz`);
const objectPath = (folder: string, sha256: string) => join(folder, "objects", sha256);

function digesting(digest: ReturnType<typeof createHash>): PassThrough {
  const through = new PassThrough();
  through.on("data", (chunk: Buffer) => digest.update(chunk));
  return through;
}

async function verifyFile(path: string, sha256: string, signal: AbortSignal): Promise<void> {
  const digest = createHash("sha256");
  await pipeline(createReadStream(path), digest, { signal });
  if (digest.digest("hex") !== sha256)
    throw new Error(`the backup is damaged: ${path} is not as it was written. Nothing was restored`);
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined;
}
