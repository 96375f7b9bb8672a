import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { fileLinks, readMarkdown, root, settingsSection, settingsTable } from "./readme.ts";

const documents = [
  "README.md",
  "docs/architecture.md",
  "docs/rollouts.md",
  "docs/heartbeats.md",
  "docs/crashes.md",
  "docs/filters.md",
  "docs/health.md",
];

describe("the README", () => {
  it("lists every setting with its default and meaning, as the code has them", async () => {
    expect(settingsSection(await readMarkdown("README.md"))).toBe(settingsTable());
  });
});

describe.each(documents)("%s", (document) => {
  it("links to files that are there", async () => {
    const folder = dirname(join(root, document));
    const links = fileLinks(await readMarkdown(document));
    expect(links.filter((link) => !existsSync(join(folder, link)))).toEqual([]);
  });
});

describe("docs/heartbeats.md", () => {
  it("names a test that is there for each promise", async () => {
    const rows = [
      ...(await readMarkdown("docs/heartbeats.md")).matchAll(/\[(test\/\S+\.ts)\]\([^)]*\): “([^”]+)”/g),
    ];
    expect(rows.length).toBeGreaterThan(10);
    for (const [, file, title] of rows) {
      expect(await readFile(join(root, file ?? ""), "utf8"), file).toContain(`"${title}"`);
    }
  });
});
