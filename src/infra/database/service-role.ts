import pg from "pg";
import type { Session } from "./session.ts";
import { identifier, type Sql, sql } from "./sql.ts";

/** The two ways to one database. They are the same where one role does everything. */
export interface DatabaseUrls {
  /** As the role that the service works as. */
  readonly serviceUrl: string;
  /** As the role that owns the schema, for migrations. */
  readonly ownerUrl: string;
}

/**
 * Grants the role what the service needs on every table and no more: to read and write rows, where the table is not one of
 * {@link addedTo} or {@link readOnly}. What is as it should be is not touched, and neither is the owner's own role. The
 * caller owns the tables, and sees to it that nobody else does this at the same time.
 */
export async function grantService(session: Session, role: string): Promise<void> {
  const [owner] = await session.query<{ name: string; schema: string }>(ownerSql);
  if (owner === undefined || role === owner.name) return;
  const to = identifier(role);
  for (const { name, held } of await session.query<{ name: string; held: string[] }>(tablesSql, [role])) {
    const wanted = wantedOn(name);
    if (held.toSorted().join(", ") === wanted.names) continue;
    const table = identifier(name);
    await session.run(sql`REVOKE ALL ON ${table} FROM ${to}`);
    await session.run(sql`GRANT ${wanted.list} ON ${table} TO ${to}`);
  }
  const schema = identifier(owner.schema);
  await session.run(sql`GRANT USAGE ON SCHEMA ${schema} TO ${to}`);
  await session.run(sql`GRANT USAGE ON ALL SEQUENCES IN SCHEMA ${schema} TO ${to}`);
  for (const name of partitionFunctions)
    await session.run(sql`GRANT EXECUTE ON FUNCTION ${identifier(name)} TO ${to}`);
}

/** What the session's role lacks of what the service needs, for example `UPDATE on devices`; nothing if it owns the tables. */
export async function missingPrivileges(session: Session): Promise<string[]> {
  const tables = await session.query<{ name: string; held: string[] }>(usableSql);
  const functions = await session.query<{ name: string }>(unusableFunctionsSql, [partitionFunctions]);
  return [
    ...tables.flatMap(({ name, held }) =>
      wantedOn(name)
        .names.split(", ")
        .filter((privilege) => !held.includes(privilege))
        .map((privilege) => `${privilege} on ${name}`),
    ),
    ...functions.map(({ name }) => `EXECUTE on ${name}`),
  ];
}

/** The role that a connection URL names, by the rules of pg, which also knows defaults. */
export function roleOf(url: string): string {
  return new pg.Client({ connectionString: url }).user ?? "";
}

/** Tables whose rows the service adds and never changes, whatever is made of it. */
const addedTo: ReadonlySet<string> = new Set(["audit_events", "audit_links"]);

/** Tables that are the migrations' own. */
const readOnly: ReadonlySet<string> = new Set(["mikro_orm_migrations"]);

/** Those of the migrations that work with their owner's rights. */
const partitionFunctions = ["make_time_partition", "drop_time_partition", "summarize_time_partition"];

interface Privileges {
  /** In the order of the alphabet. */
  readonly names: string;
  readonly list: Sql;
}

function wantedOn(table: string): Privileges {
  if (readOnly.has(table)) return { names: "SELECT", list: sql`SELECT` };
  if (addedTo.has(table)) return { names: "INSERT, SELECT", list: sql`INSERT, SELECT` };
  return { names: "DELETE, INSERT, SELECT, UPDATE", list: sql`DELETE, INSERT, SELECT, UPDATE` };
}

/** Tables, and what the session's role may do with each, however it came by it. */
const usableSql = sql`
  SELECT c.relname AS name,
         ARRAY(SELECT privilege FROM unnest(ARRAY['DELETE', 'INSERT', 'SELECT', 'UPDATE']) privilege
                WHERE has_table_privilege(c.oid, privilege)) AS held
    FROM pg_class c
   WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
   ORDER BY c.relname`;

const unusableFunctionsSql = sql`
  SELECT proname AS name FROM pg_proc
   WHERE pronamespace = current_schema()::regnamespace AND proname = ANY($1) AND NOT has_function_privilege(oid, 'EXECUTE')
   ORDER BY proname`;

const ownerSql = sql`SELECT current_user AS name, current_schema() AS schema`;

/** Tables, and what the role was granted of each. Not partitions: what counts for them is their table's. */
const tablesSql = sql`
  SELECT c.relname AS name,
         ARRAY(SELECT acl.privilege_type FROM aclexplode(c.relacl) acl WHERE acl.grantee = to_regrole(quote_ident($1))) AS held
    FROM pg_class c
   WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
   ORDER BY c.relname`;
