import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { readPage, root } from "./pages.ts";

it("docs/heartbeats.md names a test that is there for each promise", async () => {
  const page = await readPage("docs/heartbeats.md");
  const rows = [...page.matchAll(/\[(test\/\S+\.ts)\]\([^)]*\): “([^”]+)”/g)];
  expect(rows.length).toBeGreaterThan(10);
  for (const [, file, title] of rows) {
    expect(await readFile(join(root, file ?? ""), "utf8"), file).toContain(`"${title}"`);
  }
});
