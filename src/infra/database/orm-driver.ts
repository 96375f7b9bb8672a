import {
  AbstractSqlDriver,
  type Configuration,
  type Constructor,
  type EntityData,
  EntityManager,
  type EntityManagerType,
  isRaw,
  JsonProperty,
  type LoggingOptions,
  MikroORM,
  NativeQueryBuilder,
  PostgreSqlConnection,
  PostgreSqlPlatform,
  type QueryResult,
  type RawQueryFragment,
  raw,
  type Transaction,
  Utils,
} from "@mikro-orm/postgresql";
import { CompiledQuery } from "kysely";
import type pg from "pg";
import { currentReader, type Reader } from "../reader.ts";
import { cancellable } from "./cancellable-query.ts";
import { NumberedQuery } from "./session.ts";

/**
 * MikroORM's PostgreSQL driver, but for one thing: values travel beside a statement, as parameters. MikroORM 7 itself quotes
 * them into the text (`AbstractSqlConnection.execute`), so that what a device or an operator wrote would stand in the
 * server's statements and logs, and its safety would hang on quoting.
 */
export class OrmDriver extends AbstractSqlDriver<ParameterConnection, ParameterPlatform> {
  declare [EntityManagerType]: EntityManager<this>;

  constructor(config: Configuration) {
    super(config, new ParameterPlatform(), ParameterConnection, ["kysely", "pg"]);
  }

  override createEntityManager(useContext?: boolean): this[typeof EntityManagerType] {
    return new EntityManager(this.config, this, this.metadata, useContext) as this[typeof EntityManagerType];
  }

  override getORMClass(): Constructor<MikroORM> {
    return MikroORM;
  }
}

/** A statement as pg takes it. */
interface Parameterised {
  readonly text: string;
  readonly values: unknown[];
}

class ParameterConnection extends PostgreSqlConnection {
  declare protected platform: ParameterPlatform;

  /** Dates come back as pg reads them everywhere else; the ORM takes either, but reads text by default. */
  override mapOptions(overrides: pg.PoolConfig): pg.PoolConfig {
    const { types: _, ...options } = super.mapOptions(overrides);
    return options;
  }

  override async execute<T extends QueryResult | EntityData<object> | EntityData<object>[]>(
    query: string | NativeQueryBuilder | RawQueryFragment,
    params: readonly unknown[] | Record<string, unknown> = [],
    method: "all" | "get" | "run" = "all",
    transaction?: Transaction,
    context?: LoggingOptions,
  ): Promise<T> {
    await this.ensureConnection();
    const { text, values } = this.#parameterise(query, params);
    return await this.executeQuery(
      text,
      async () => {
        const reader = transaction === undefined && method !== "run" ? currentReader() : undefined;
        if (reader !== undefined)
          return this.transformRawResult<T>(await this.#readFor(reader, text, values), method);
        const result = await (transaction ?? this.getClient()).executeQuery(CompiledQuery.raw(text, values));
        return this.transformRawResult<T>(result, method);
      },
      context,
    );
  }

  /** Would quote values into the text, and nothing needs it. */
  override stream(): never {
    throw new Error("results of the ORM are not streamed");
  }

  /** Reads for a caller who may leave. Kysely would cancel by a connection of its own each time, beyond what pools bound. */
  async #readFor({ signal }: Reader, text: string, values: readonly unknown[]): Promise<pg.QueryResult> {
    const pool = await this.getNativeClient();
    return await cancellable(pool, signal, (client) => client.query(text, [...values]));
  }

  #parameterise(
    query: string | NativeQueryBuilder | RawQueryFragment,
    params: readonly unknown[] | Record<string, unknown>,
  ): Parameterised {
    if (query instanceof NumberedQuery) return { text: query.sql, values: [...query.params] };
    const built = query instanceof NativeQueryBuilder ? query.toRaw() : query;
    if (typeof built !== "string") return this.platform.parameterise(built.sql, built.params);
    if (Array.isArray(params)) return this.platform.parameterise(built, params as readonly unknown[]);
    const named = raw(built, params as Record<string, unknown>);
    return this.platform.parameterise(named.sql, named.params);
  }
}

class ParameterPlatform extends PostgreSqlPlatform {
  /** Where values go while a statement is parameterised; undefined while something else is quoted. */
  #values: unknown[] | undefined;

  /** The statement with `$1`, `$2` and so on where it has question marks. */
  parameterise(sql: string, params: readonly unknown[]): Parameterised {
    const values: unknown[] = [];
    this.#values = values;
    try {
      return { text: this.formatQuery(sql, params), values };
    } finally {
      this.#values = undefined;
    }
  }

  /** Each item in quotes. The ORM itself leaves most bare, and then PostgreSQL reads `NULL` as no item and trims blanks. */
  override marshallArray(items: string[]): string {
    const quoted = items.map((item) => item.replaceAll("\\", "\\\\").replaceAll('"', '\\"'));
    return `{${quoted.map((item) => `"${item}"`).join(",")}}`;
  }

  /** Called by the ORM for each value of a statement. */
  override quoteValue(value: unknown): string {
    // A raw fragment is text of ours, whose values come here one by one.
    if (this.#values === undefined || isRaw(value)) return super.quoteValue(value);
    if (Array.isArray(value) && !(JsonProperty in value))
      return value.map((each) => this.quoteValue(each)).join(", ");
    this.#values.push(this.#sent(value));
    return `$${this.#values.length}`;
  }

  #sent(value: unknown): unknown {
    if (value instanceof Date) return this.formatDate(value);
    const isJson =
      Utils.isPlainObject(value) || (typeof value === "object" && value !== null && JsonProperty in value);
    return isJson ? JSON.stringify(value) : value;
  }
}
