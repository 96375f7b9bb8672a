import { existsSync, statSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { describe, expect, it } from "vitest";
import { pages, prose, readPage, root } from "./pages.ts";

describe.each(pages)("%s", (page) => {
  it("links to files and headings that are there", async () => {
    const dead: string[] = [];
    for (const { path, anchor, text } of links(page, await readPage(page))) {
      if (!existsSync(join(root, path))) dead.push(text);
      else if (anchor !== "" && !anchors(await readPage(path)).includes(anchor)) dead.push(text);
    }
    expect(dead).toEqual([]);
  });

  it("begins with a heading and what the page is for", async () => {
    expect(await readPage(page)).toMatch(/^# .+\n\n(?:!\[.+\n\n)?[A-Z`*].+/);
  });
});

it("every page can be reached from the README", async () => {
  const reached = new Set(["README.md"]);
  for (const page of reached) {
    for (const { path } of links(page, await readPage(page))) {
      // A link to a folder leads to all that is in it, as it does in a browser.
      const isFolder = existsSync(join(root, path)) && statSync(join(root, path)).isDirectory();
      const targets = isFolder ? pages.filter((each) => dirname(each) === path) : [path];
      for (const target of targets) if (pages.includes(target)) reached.add(target);
    }
  }
  expect([...reached].toSorted()).toEqual(pages);
});

interface Link {
  /** From the root. */
  readonly path: string;
  /** Empty if it names the whole file. */
  readonly anchor: string;
  readonly text: string;
}

/** A page's links to files of the repository. */
function links(page: string, markdown: string): Link[] {
  return [...prose(markdown).matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, target]) => target ?? "")
    .filter((target) => !/^[a-z]+:/.test(target))
    .map((text) => {
      const [file = "", anchor = ""] = text.split("#");
      const path = file === "" ? page : relative(root, join(root, dirname(page), file));
      return { path, anchor, text };
    });
}

/** The anchors that GitHub gives to a page's headings. */
function anchors(markdown: string): string[] {
  return [...prose(markdown).matchAll(/^#+ (.+)$/gm)].map(([, heading]) =>
    (heading ?? "")
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, "")
      .replaceAll(" ", "-"),
  );
}
