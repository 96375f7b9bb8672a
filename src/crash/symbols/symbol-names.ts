import type { ReadSession } from "../../infra/database/session.ts";
import type { Logger } from "../../infra/logger.ts";
import type { ObjectStore } from "../../infra/objects/object-store.ts";
import type { CodeAddress } from "../stacks/stack.ts";
import { objectsOf, tellsBuild } from "./build-objects.ts";
import { ElfError, readElf } from "./elf-file.ts";
import type { FunctionTable } from "./function-table.ts";
import { reader } from "./symbol-files.ts";

/** Names of functions for addresses. */
export interface SymbolNames {
  /** As the compiler wrote it; undefined if no symbol file knows the address. */
  nameOf(address: CodeAddress): string | undefined;
}

/** What {@link SymbolTables} is made of. */
export interface SymbolTablesParts {
  readonly store: ObjectStore;
  readonly logger: Logger;
}

/** Finds the names of builds: see {@link SymbolTables.inTries}. */
export type FindNames = (session: ReadSession, buildIds: Iterable<string>) => Promise<SymbolNames>;

/** The functions of the builds that crashed last, kept in memory. */
export class SymbolTables {
  readonly #parts: SymbolTablesParts;
  /** By object, the one that was used last at the end; undefined for a file that cannot be read. */
  readonly #tables: Tables = new Map();

  constructor(parts: SymbolTablesParts) {
    this.#parts = parts;
  }

  /**
   * Works with the names of builds. What looks them up in a transaction fails if a file has to be read first, which takes
   * seconds: it is read when the transaction is gone, and the work is done again. A file that cannot be read is left out and
   * logged: a report is worth more than its names. Builds beyond {@link maxBuilds} at once, and texts too short to tell builds
   * apart, are left out.
   */
  async inTries<T>(work: (find: FindNames) => Promise<T>): Promise<T> {
    // Beside what is kept: more may be wanted at once than that.
    const read: Tables = new Map();
    for (;;) {
      try {
        return await work((session, buildIds) => this.#find(session, buildIds, read));
      } catch (error) {
        if (!(error instanceof UnreadSymbols)) throw error;
        for (const object of error.objects) read.set(object, await this.#load(object));
      }
    }
  }

  async #find(session: ReadSession, buildIds: Iterable<string>, read: Tables): Promise<SymbolNames> {
    const wanted = [...new Set(buildIds)].filter(tellsBuild).slice(0, maxBuilds);
    const tables: Tables = new Map();
    const unread = new Set<string>();
    for (const [buildId, object] of await objectsOf(session, wanted)) {
      if (read.has(object)) tables.set(buildId, read.get(object));
      else if (this.#tables.has(object)) tables.set(buildId, await this.#load(object));
      else unread.add(object);
    }
    if (unread.size > 0) throw new UnreadSymbols(unread);
    return {
      nameOf: ({ buildId, offset }) => tables.get(buildId)?.nameAt(Number(offset)),
    };
  }

  async #load(object: string): Promise<FunctionTable | undefined> {
    const known = this.#tables.get(object);
    if (known === undefined && this.#tables.has(object)) return undefined;
    try {
      this.#keep(object, known ?? (await readElf(reader(this.#parts.store, object))).functions);
    } catch (err) {
      this.#parts.logger.warn({ err, object }, "a symbol file cannot be read");
      // The file itself stays as it is; the store may answer again.
      if (err instanceof ElfError) this.#keep(object, undefined);
    }
    return this.#tables.get(object);
  }

  #keep(object: string, table: FunctionTable | undefined): void {
    this.#tables.delete(object);
    this.#tables.set(object, table);
    const [oldest] = this.#tables.keys();
    if (this.#tables.size > maxTables && oldest !== undefined) this.#tables.delete(oldest);
  }
}

type Tables = Map<string, FunctionTable | undefined>;

/** Files that have to be read before addresses in them have names. */
class UnreadSymbols extends Error {
  readonly objects: ReadonlySet<string>;

  constructor(objects: ReadonlySet<string>) {
    super("symbol files have to be read first");
    this.objects = objects;
  }
}

/** Of one batch of reports. */
const maxBuilds = 32;

/** In memory; a large program has some 100,000 functions, at 100 bytes each. */
const maxTables = 16;
