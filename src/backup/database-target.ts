import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { from as copyFrom } from "pg-copy-streams";
import { migrateUp } from "../infra/database/migrate.ts";
import { makePartition } from "../infra/database/partition-functions.ts";
import type { DatabaseUrls } from "../infra/database/service-role.ts";
import { type Session, sessionOn } from "../infra/database/session.ts";
import { identifier, joined, sql } from "../infra/database/sql.ts";
import { openToolConnection, type ToolConnection } from "../infra/database/tool-connection.ts";
import { setCopyFormat } from "./copy-format.ts";
import { type CopiedSequence, type CopiedTable, copiedTables } from "./table-catalog.ts";

/** What the rows are copied from. */
export interface CopiedSchema {
  readonly migrations: readonly string[];
  readonly tables: readonly CopiedTable[];
  readonly sequences: readonly CopiedSequence[];
}

/**
 * An empty database on its way to be the copy of another one: first the schema of the same migrations, then all rows in one
 * transaction, which leaves nothing behind if it fails. Triggers rest meanwhile: what they would write is among the rows.
 */
export class DatabaseTarget implements AsyncDisposable {
  readonly #connection: ToolConnection;
  readonly #session: Session;
  readonly #schema: CopiedSchema;

  /** Throws with words if the database holds anything, or comes from another version of the service. */
  static async open(
    { ownerUrl, serviceUrl }: DatabaseUrls,
    schema: CopiedSchema,
    signal: AbortSignal,
  ): Promise<DatabaseTarget> {
    await migrateUp(ownerUrl, { signal, serviceUrl, exactly: schema.migrations });
    const connection = await openToolConnection(ownerUrl);
    try {
      const session = sessionOn(connection);
      await session.run(sql`BEGIN`);
      await requireEmpty(session);
      await setCopyFormat(session);
      for (const { name, partitions } of schema.tables) {
        for (const partition of partitions) {
          const [start, end] = [new Date(partition.start), new Date(partition.end)];
          await makePartition(session, { table: name, name: partition.name, start, end });
        }
        await session.run(sql`ALTER TABLE ${identifier(name)} DISABLE TRIGGER USER`);
      }
      return new DatabaseTarget(connection, session, schema);
    } catch (error) {
      await connection.end();
      throw error;
    }
  }

  private constructor(connection: ToolConnection, session: Session, schema: CopiedSchema) {
    this.#connection = connection;
    this.#session = session;
    this.#schema = schema;
  }

  /** Takes the rows of a table in PostgreSQL's text format; returns how many there were. */
  async takeRows(table: CopiedTable, rows: Readable, signal: AbortSignal): Promise<number> {
    const sink = this.#connection.query(copyFrom(copyInSql(table).text));
    await pipeline(rows, sink, { signal });
    return sink.rowCount;
  }

  /** Makes the rows count, all at once. */
  async commit(): Promise<void> {
    for (const { name, lastValue, isCalled } of this.#schema.sequences)
      await this.#session.query(sequenceSql, [name, lastValue, isCalled]);
    for (const { name } of this.#schema.tables)
      await this.#session.run(sql`ALTER TABLE ${identifier(name)} ENABLE TRIGGER USER`);
    await this.#session.run(sql`COMMIT`);
    // Without statistics the first statements of the service would read whole tables.
    await this.#session.run(sql`ANALYZE`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#connection.end();
  }
}

async function requireEmpty(session: Session): Promise<void> {
  for (const { name } of await copiedTables(session)) {
    const [found] = await session.query<{ filled: boolean }>(
      sql`SELECT EXISTS (SELECT FROM ${identifier(name)}) AS filled`,
    );
    if (found?.filled !== true) continue;
    throw new Error(
      `the database is not empty: there are rows in ${name}. Nothing was changed; name an empty one ` +
        "(a new --data-dir, or another DEVICE_OTA_DATABASE_URL)",
    );
  }
}

const copyInSql = ({ name, columns }: CopiedTable) => sql`
  COPY ${identifier(name)} (${joined(columns.map(identifier), sql`, `)}) FROM STDIN`;

const sequenceSql = sql`SELECT setval(format('%I', $1::text)::regclass, $2::bigint, $3::boolean)`;
