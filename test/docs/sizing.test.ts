import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { type MeasuredCosts, sizingTables } from "../../scripts/sizing-table.ts";
import { readPage, root } from "./pages.ts";

it("docs/operations.md has the sizes that follow from what was measured", async () => {
  const costs = JSON.parse(await readFile(join(root, "docs/sizing.json"), "utf8")) as MeasuredCosts;
  const page = await readPage("docs/operations.md");
  const shown = /<!-- sizing: [^\n]* -->\n([^]*?)\n<!-- \/sizing -->/.exec(page)?.[1];
  expect(shown, "run npm run sizing").toBe(sizingTables(costs));
  const rows = shown?.split("\n").filter((line) => /^\| [\d,]+ \| (60|300) s/.test(line));
  expect(rows).toHaveLength(8);
});
