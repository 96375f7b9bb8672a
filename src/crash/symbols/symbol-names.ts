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

/** The functions of the builds that crashed last, kept in memory. */
export class SymbolTables {
  readonly #parts: SymbolTablesParts;
  /** By object, the one that was used last at the end; undefined for a file that cannot be read. */
  readonly #tables = new Map<string, FunctionTable | undefined>();

  constructor(parts: SymbolTablesParts) {
    this.#parts = parts;
  }

  /**
   * The names of these builds. A file that cannot be read is left out and logged: a report is worth more than its names. Builds
   * beyond {@link maxBuilds} at once, and texts too short to tell builds apart, are left out.
   */
  async of(session: ReadSession, buildIds: Iterable<string>): Promise<SymbolNames> {
    const wanted = [...new Set(buildIds)].filter(tellsBuild).slice(0, maxBuilds);
    const tables = new Map<string, FunctionTable>();
    for (const [buildId, object] of await objectsOf(session, wanted)) {
      const table = await this.#load(object);
      if (table !== undefined) tables.set(buildId, table);
    }
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

/** Of one batch of reports. */
const maxBuilds = 32;

/** In memory; a large program has some 100,000 functions, at 100 bytes each. */
const maxTables = 16;
