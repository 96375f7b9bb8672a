import { readFile, writeFile } from "node:fs/promises";
import { type MeasuredCosts, sizingTables } from "./sizing-table.ts";

/** Computes the tables of docs/operations.md anew from docs/sizing.json: `npm run sizing`. */
const page = "docs/operations.md";
const costs = JSON.parse(await readFile("docs/sizing.json", "utf8")) as MeasuredCosts;
const text = await readFile(page, "utf8");
await writeFile(
  page,
  text.replace(
    /(<!-- sizing: [^\n]* -->\n)[^]*?(<!-- \/sizing -->)/,
    (_, begin: string, end: string) => `${begin}${sizingTables(costs)}\n${end}`,
  ),
);
