import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { alertRules } from "../../src/console/words/alert-rules.ts";
import { readPage, root } from "./pages.ts";

/** Where rules of alerts are named; events of alerts are named there too. */
const sources = ["src/alert/alert-rules.ts", "src/alert/alert-watch.ts", "src/alert/replica-signals.ts"];

it("docs/alerts.md lists every rule of alerts, and none beside them", async () => {
  const texts = await Promise.all(
    [...sources, "src/assembly/alerts.ts"].map((path) => readFile(join(root, path), "utf8")),
  );
  const named = texts.flatMap((text) => [...text.matchAll(/["']((?!alert\.)[a-z]+\.[a-z_]+)["']/g)]);
  const rules = new Set(named.map(([, rule = ""]) => rule));
  const rows = (await readPage("docs/alerts.md")).matchAll(
    /^\| `([a-z]+\.[a-z_]+)` \| (?:warning|critical) \|/gm,
  );
  const listed = Array.from(rows, ([, rule = ""]) => rule);
  expect(listed.toSorted()).toEqual([...rules].toSorted());
  expect(listed.length).toBeGreaterThan(10);
  expect(Object.keys(alertRules).toSorted(), "the console's words").toEqual(listed.toSorted());
});
