import { join } from "node:path";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import type { Sql } from "../../src/infra/database/sql.ts";
import { createTestDatabase, type TestDatabase } from "../support/postgres.ts";
import { readSqlSources, siteKey } from "./sql-sources.ts";

const root = join(import.meta.dirname, "../..");
const sources = readSqlSources(root);

let testDatabase: TestDatabase;
/** Every piece of SQL that was made: those of module constants, and those that are put together when they are asked. */
const made: Sql[] = [];

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  // Constants are made as their module is loaded, which other tests in this process may have done already.
  vi.resetModules();
  const { sqlObserver } = await import("../../src/infra/database/sql.ts");
  sqlObserver.made = (piece) => made.push(piece);
  for (const file of new Set(sources.sites.map((site) => site.file))) await import(join(root, file));
  // Not before the observer is there: what it imports is observed too.
  const { buildEveryStatement } = await import("./built-statements.ts");
  await buildEveryStatement(testDatabase.url);
  delete sqlObserver.made;
});

afterAll(() => testDatabase[Symbol.asyncDispose]());

/** What is a statement and not a part of another one. */
function statements(): Sql[] {
  const parts = new Set(made.flatMap(({ pieces }) => pieces));
  const byText = new Map(made.filter((piece) => !parts.has(piece)).map((piece) => [piece.text, piece]));
  return [...byText.values()].filter(({ text }) => /^\s*[A-Z]/.test(text));
}

/** Statements that PostgreSQL prepares; the others define or set something, and were run. */
const isPrepared = /^\s*(?:SELECT|INSERT|UPDATE|DELETE|WITH|MERGE|VALUES)\b/;

describe("SQL", () => {
  it("is written with the tag alone, in the service's own rooms", () => {
    const isCopy = (place: string) => copyFiles.some((name) => place.startsWith(`src/heartbeat/${name}.ts`));
    expect(sources.strays.filter((place) => !isCopy(place))).toEqual([]);
  });

  it("is accepted by a migrated database, statement by statement", async () => {
    const client = new pg.Client({ connectionString: testDatabase.url });
    await client.connect();
    const refused: string[] = [];
    for (const { text } of statements()) {
      if (!isPrepared.test(text)) continue;
      await client.query(`PREPARE statement AS ${text}`).then(
        () => client.query("DEALLOCATE statement"),
        (error: Error) => refused.push(`${error.message}: ${text}`),
      );
    }
    await client.end();
    expect(refused).toEqual([]);
    expect(statements().length).toBeGreaterThan(60);
  });

  it("stands nowhere in the sources without being part of a statement that was tried", () => {
    const tried = new Set<string>();
    const visit = (piece: Sql): void => {
      if (piece.site !== undefined) tried.add(siteKey(piece.site.raw));
      for (const part of piece.pieces) visit(part);
    };
    for (const statement of statements()) visit(statement);
    expect(sources.sites.filter(({ key }) => !tried.has(key)).map(({ place }) => place)).toEqual([]);
  });

  it("has one name for each statement that connections keep prepared", () => {
    const texts = new Map<string, Set<string>>();
    for (const { name, text } of made) {
      if (name !== undefined) texts.set(name, (texts.get(name) ?? new Set()).add(text));
    }
    expect([...texts].filter(([, each]) => each.size > 1).map(([name]) => name)).toEqual([]);
    expect(texts.size).toBeGreaterThan(3);
  });
});

/** The way of heartbeats: one simple query with a COPY in it, which no session sends. Ids and numbers alone stand in its text. */
const copyFiles = ["copy-encoder", "heartbeat-flush", "heartbeat-ingest", "ingest-transaction"];
