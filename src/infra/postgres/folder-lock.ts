import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { FolderInUseError } from "./embedded-postgres-error.ts";

/**
 * Exclusive ownership of a data folder by one live process.
 *
 * The lock is one that the kernel holds (POSIX `fcntl`), so it ends with the process however that ends. A file with a
 * process id cannot do that: after a crash the id may belong to somebody else, and two starters that both find a
 * stale file can both win. Node has no `fcntl`, but SQLite has, and an exclusive transaction on an empty SQLite file
 * is exactly such a lock, also between containers of one host that share the folder. Nothing is ever written to it.
 * The owner's process id stands in a file beside it, only to be named in the message.
 */
export class FolderLock {
  readonly #database: DatabaseSync;

  /** Takes the folder, or throws {@link FolderInUseError} naming the process that has it. Never waits. */
  static acquire(folder: string): FolderLock {
    const ownerFile = join(folder, "owner.pid");
    const database = new DatabaseSync(join(folder, "owner.lock"), { timeout: 0 });
    try {
      database.exec("BEGIN EXCLUSIVE");
    } catch (error) {
      database.close();
      if ((error as { errcode?: number }).errcode !== SQLITE_BUSY) throw error;
      throw new FolderInUseError(
        `the data folder ${folder} is in use by another running service${processName(ownerFile)}; ` +
          "stop that one, or give this one a data folder of its own",
      );
    }
    writeFileSync(ownerFile, `${process.pid}\n`);
    return new FolderLock(database);
  }

  private constructor(database: DatabaseSync) {
    this.#database = database;
  }

  /** Gives the folder up. Idempotent. */
  release(): void {
    if (this.#database.isOpen) this.#database.close();
  }
}

/** Result code of SQLite for a lock that somebody else holds (sqlite.org/rescode.html). */
const SQLITE_BUSY = 5;

function processName(ownerFile: string): string {
  try {
    return ` (process ${Number.parseInt(readFileSync(ownerFile, "utf8"), 10)})`;
  } catch {
    return "";
  }
}
