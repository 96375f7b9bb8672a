import type { Readable } from "node:stream";
import { to as copyTo } from "pg-copy-streams";
import { doneMigrations } from "../infra/database/migrate.ts";
import { type ReadSession, sessionOn } from "../infra/database/session.ts";
import { identifier, joined, sql } from "../infra/database/sql.ts";
import { openToolConnection, type ToolConnection } from "../infra/database/tool-connection.ts";
import { setCopyFormat } from "./copy-format.ts";
import { type CopiedSequence, type CopiedTable, copiedSequences, copiedTables } from "./table-catalog.ts";

/**
 * A database as it is at one moment, while others go on writing to it: one transaction that sees what was committed when it
 * began. Partitions that are made or dropped meanwhile wait for it.
 */
export class DatabaseSource implements AsyncDisposable {
  /** Each after those that it refers to. */
  readonly tables: readonly CopiedTable[];
  readonly sequences: readonly CopiedSequence[];
  /** The migrations that made its schema. */
  readonly migrations: readonly string[];
  /** For whatever else is read of the same moment. */
  readonly session: ReadSession;
  readonly #connection: ToolConnection;

  /** Throws with words if the database was never migrated. `url` names the role that owns the tables. */
  static async open(url: string): Promise<DatabaseSource> {
    const connection = await openToolConnection(url);
    try {
      const session = sessionOn(connection);
      await session.run(beginSql);
      await setCopyFormat(session);
      const migrations = await doneMigrations(session);
      if (migrations.length === 0)
        throw new Error("the database is empty: no service has worked with it yet");
      const tables = await copiedTables(session);
      await session.run(lockSql(tables));
      return new DatabaseSource(connection, session, {
        tables,
        migrations,
        sequences: await copiedSequences(session),
      });
    } catch (error) {
      await connection.end();
      throw error;
    }
  }

  private constructor(
    connection: ToolConnection,
    session: ReadSession,
    found: Pick<DatabaseSource, "tables" | "sequences" | "migrations">,
  ) {
    this.#connection = connection;
    this.session = session;
    this.tables = found.tables;
    this.sequences = found.sequences;
    this.migrations = found.migrations;
  }

  /** The rows of a table in PostgreSQL's text format, to be read to their end before the next ones. */
  rowsOf(table: CopiedTable): Readable {
    return this.#connection.query(copyTo(copyOutSql(table).text));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#connection.end();
  }
}

const beginSql = sql`BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY`;

const lockSql = (tables: readonly CopiedTable[]) => sql`
  LOCK TABLE ${joined(
    tables.map(({ name }) => identifier(name)),
    sql`, `,
  )} IN ACCESS SHARE MODE`;

// COPY of a partitioned table needs a query.
const copyOutSql = ({ name, columns }: CopiedTable) => sql`
  COPY (SELECT ${joined(columns.map(identifier), sql`, `)} FROM ${identifier(name)}) TO STDOUT`;
