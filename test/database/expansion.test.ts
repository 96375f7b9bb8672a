import { expect, it } from "vitest";
import { migrateUp } from "../../src/infra/database/migrate.ts";
import { execute } from "../support/global-setup.ts";
import { createEmptyDatabase } from "../support/postgres.ts";
import { contractions, readSchema } from "./contractions.ts";
import { connect } from "./support.ts";

/**
 * The migration after which each only expands: replicas of the version before go on beside the new one. With a release it may
 * be moved on, for what is older than the release before it is over.
 */
const expandsAfter = "0042-soundness";

/**
 * What later migrations take away all the same, by migration: what no service uses any more that may run beside it. Say
 * which release stopped to use it.
 */
const contracted: Readonly<Record<string, readonly string[]>> = {};

it("each migration only expands the schema, so that the version before goes on beside the new one", async () => {
  await using empty = await createEmptyDatabase();
  await using database = await connect(empty.url);
  const all = await database.pendingMigrations();
  const first = all.indexOf(expandsAfter) + 1;
  expect(first).toBeGreaterThan(0);
  await migrateUp(empty.url, { exactly: all.slice(0, first) });
  let schema = await readSchema(empty.url);
  const found: Record<string, readonly string[]> = {};
  for (const [index, name] of all.entries()) {
    if (index < first) continue;
    await migrateUp(empty.url, { exactly: all.slice(0, index + 1) });
    const next = await readSchema(empty.url);
    const taken = contractions(schema, next);
    if (taken.length > 0) found[name] = taken;
    schema = next;
  }
  expect(found).toEqual(contracted);
});

it("a migration that takes something away is seen, and one that adds is not", async () => {
  await using empty = await createEmptyDatabase();
  await execute(
    empty.url,
    `CREATE TABLE a (id int PRIMARY KEY, kept text, gone text, wider int, name text, made_at date NOT NULL DEFAULT now());
     CREATE UNIQUE INDEX a_name_unique ON a (name) WHERE name <> '';
     CREATE TABLE b (id int);
     CREATE VIEW c AS SELECT 1 AS one;
     CREATE FUNCTION f(n int) RETURNS int LANGUAGE sql AS 'SELECT 1'`,
  );
  const before = await readSchema(empty.url);
  await execute(
    empty.url,
    `ALTER TABLE a ADD empty text, ADD filled int NOT NULL DEFAULT 1, ADD UNIQUE (empty);
     CREATE TABLE d (id int PRIMARY KEY, b_id int NOT NULL CHECK (b_id > 0));
     CREATE INDEX ON a (kept);
     CREATE OR REPLACE FUNCTION f(n int) RETURNS int LANGUAGE sql AS 'SELECT 2'`,
  );
  const expanded = await readSchema(empty.url);
  expect(contractions(before, expanded)).toEqual([]);
  await execute(
    empty.url,
    `ALTER TABLE a DROP gone, ADD required text NOT NULL, ADD CHECK (length(kept) < 9),
       ALTER wider TYPE bigint, ALTER kept SET NOT NULL, ALTER made_at DROP DEFAULT;
     DROP INDEX a_name_unique;
     DROP FUNCTION f(int);
     DROP VIEW c;
     ALTER TABLE b RENAME TO b2`,
  );
  expect(contractions(expanded, await readSchema(empty.url))).toEqual([
    "column a.gone is gone",
    "column a.kept is required",
    "column a.made_at has no default any more",
    "column a.required is new, required and has no default",
    "column a.wider was integer and is bigint",
    "function f(integer) is gone",
    "table a has the rule a_kept_check: CHECK ((length(kept) < 9))",
    "table a has the rule a_name_unique no more: UNIQUE btree (name) WHERE (name <> ''::text)",
    "table b is gone",
    "table c is gone",
  ]);
});
