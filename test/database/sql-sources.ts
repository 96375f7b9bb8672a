import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseSync } from "vite";

/** A place in the sources where SQL is written with the tag `sql`. */
interface SqlSite {
  /** `src/x.ts:12` */
  readonly place: string;
  readonly file: string;
  /** What stands between the insertions, as {@link siteKey} writes it. */
  readonly key: string;
}

/** What the service's sources have of SQL. */
export interface SqlSources {
  readonly sites: readonly SqlSite[];
  /** Strings without the tag that read like a statement, and calls and imports that go past it. */
  readonly strays: readonly string[];
}

/** One text for a tagged template, the same from the syntax tree and at run time. */
export function siteKey(raw: readonly string[]): string {
  return raw.join("\u0000");
}

/** Reads every source of the service but the console, which runs in a browser. */
export function readSqlSources(root: string): SqlSources {
  const sites: SqlSite[] = [];
  const strays: string[] = [];
  for (const file of globSync("src/**/*.ts", { cwd: root }).toSorted()) {
    if (file.startsWith("src/console/") || file.endsWith(".test.ts")) continue;
    const source = readFileSync(join(root, file), "utf8");
    const { program } = parseSync(file, source);
    const placeOf = ({ start }: Node) => `${file}:${source.slice(0, start).split("\n").length}`;
    walk(program as unknown as Node, (node, parent) => {
      if (isSqlTemplate(node)) {
        sites.push({ place: placeOf(node), file, key: siteKey(quasisOf(node.quasi)) });
      } else if (isStray(node, parent, file)) strays.push(placeOf(node));
    });
  }
  return { sites, strays };
}

// biome-ignore lint/suspicious/noExplicitAny: the nodes of the syntax tree have no common type
// oxlint-disable-next-line typescript/no-explicit-any -- the nodes of the syntax tree have no common type
type Node = any;

function walk(node: Node, visit: (node: Node, parent: Node) => void, parent?: Node): void {
  visit(node, parent);
  for (const value of Object.values(node)) {
    for (const child of Array.isArray(value) ? value : [value]) {
      if (typeof child === "object" && child !== null && "type" in child) walk(child, visit, node);
    }
  }
}

function isSqlTemplate(node: Node): boolean {
  return node.type === "TaggedTemplateExpression" && node.tag.name === "sql";
}

function quasisOf(template: Node): string[] {
  return template.quasis.map(({ value }: { value: { raw: string } }) => value.raw);
}

function isStray(node: Node, parent: Node, file: string): boolean {
  // Migrations run on the ORM's own migrator, and the cluster is made before there is a database to speak of.
  const isGround = file.startsWith("src/infra/database/") || file.startsWith("src/infra/postgres/");
  if (node.type === "TemplateLiteral")
    return !isGround && !isSqlTemplate(parent) && reads(quasisOf(node).join(" "));
  if (node.type === "Literal") return !isGround && typeof node.value === "string" && reads(node.value);
  if (node.type === "ImportDeclaration") return !isGround && node.source.value === "pg";
  if (node.type === "NewExpression") return !isGround && node.callee.name === "Sql";
  return false;
}

/** Whether a text begins as a statement does. */
function reads(text: string): boolean {
  return /^\s*(?:SELECT|INSERT INTO|UPDATE|DELETE FROM|WITH|MERGE|VALUES|COPY|CREATE|ALTER|DROP|TRUNCATE|LOCK|SET LOCAL|LISTEN)\b/.test(
    text,
  );
}
