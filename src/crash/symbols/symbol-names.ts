import type { Pool } from "../../infra/database/pool.ts";
import { sql } from "../../infra/database/sql.ts";
import type { Logger } from "../../infra/logger.ts";
import type { ObjectStore } from "../../infra/objects/object-store.ts";
import type { CodeAddress } from "../stacks/stack.ts";
import { readElf } from "./elf-file.ts";
import type { FunctionTable } from "./function-table.ts";
import { reader } from "./symbol-files.ts";

/** Names of functions for addresses. */
export interface SymbolNames {
  /** As the compiler wrote it; undefined if no symbol file knows the address. */
  nameOf(address: CodeAddress): string | undefined;
}

/** What {@link SymbolTables} is made of. */
export interface SymbolTablesParts {
  readonly pool: Pool;
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
  async of(buildIds: Iterable<string>): Promise<SymbolNames> {
    const wanted = [...new Set(buildIds)].filter((id) => id.length >= minIdLength).slice(0, maxBuilds);
    const tables = new Map<string, FunctionTable>();
    if (wanted.length > 0) {
      const rows = await this.#parts.pool.query<{ wanted: string; object_sha256: string }>(objectsSql, [
        JSON.stringify(wanted),
      ]);
      for (const { wanted: buildId, object_sha256: object } of rows) {
        const table = await this.#load(object);
        if (table !== undefined) tables.set(buildId, table);
      }
    }
    return {
      nameOf: ({ buildId, offset }) => tables.get(buildId)?.nameAt(Number(offset)),
    };
  }

  async #load(object: string): Promise<FunctionTable | undefined> {
    const known = this.#tables.get(object);
    if (known === undefined && this.#tables.has(object)) return undefined;
    const table = known ?? (await this.#read(object));
    this.#tables.delete(object);
    this.#tables.set(object, table);
    const [oldest] = this.#tables.keys();
    if (this.#tables.size > maxTables && oldest !== undefined) this.#tables.delete(oldest);
    return table;
  }

  async #read(object: string): Promise<FunctionTable | undefined> {
    try {
      return (await readElf(reader(this.#parts.store, object))).functions;
    } catch (err) {
      this.#parts.logger.warn({ err, object }, "a symbol file cannot be read");
      return undefined;
    }
  }
}

/** Of one batch of reports. */
const maxBuilds = 32;

/** In memory; a large program has some 100,000 functions, at 100 bytes each. */
const maxTables = 16;

/** What ESP-IDF prints of a digest at least. */
const minIdLength = 7;

const objectsSql = sql`
  SELECT DISTINCT ON (w.id) w.id AS wanted, f.object_sha256
  FROM (SELECT jsonb_array_elements_text($1::jsonb) AS id) w
  JOIN symbol_files f ON starts_with(f.build_id, w.id) OR starts_with(f.sha256, w.id)
  ORDER BY w.id, f.created_at DESC`;
