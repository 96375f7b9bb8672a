import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { readPage, root } from "./pages.ts";

it.each([
  ["docs/heartbeats.md", "promise"],
  ["SECURITY.md", "threat"],
  ["docs/reliability.md", "fault"],
  ["docs/doors.md", "rule"],
])("%s names a test that is there for each %s", async (path) => {
  const page = await readPage(path);
  const rows = [...page.matchAll(/\[((?:src|test)\/\S+\.ts)\]\([^)]*\): “([^”]+)”/g)];
  expect(rows.length).toBeGreaterThan(10);
  for (const [, file, title] of rows) {
    expect(await readFile(join(root, file ?? ""), "utf8"), file).toContain(`"${title}"`);
  }
});
