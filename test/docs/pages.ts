import { globSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";

/** The repository's folder. */
export const root = join(import.meta.dirname, "../..");

/** Every page of the documentation, as paths from the root. The changelog tells of the past, so it is no page. */
export const pages: readonly string[] = globSync(
  ["README.md", "CONTRIBUTING.md", "SECURITY.md", "docs/**/*.md", "examples/*.md"],
  {
    cwd: root,
  },
).toSorted();

/** A Markdown file of the repository. */
export function readPage(path: string): Promise<string> {
  return readFile(join(root, path), "utf8");
}

/** A fenced block of a page. */
export interface Snippet {
  /** What stands behind the fence, for example `sh`; empty if nothing does. */
  readonly language: string;
  /** What the comment right above says of it, for example `run`; empty without one. */
  readonly mark: string;
  readonly text: string;
  /** The line of the fence, from 1. */
  readonly line: number;
}

/** The fenced blocks of a page, in order. */
export function snippets(markdown: string): Snippet[] {
  const found = markdown.matchAll(
    /(?:^[ ]*<!-- (?<mark>[^\n]*) -->\n)?^(?<indent>[ ]*)```(?<language>\w*)\n(?<text>.*?)^\k<indent>```$/gms,
  );
  return Array.from(found, ({ index, groups }) => ({
    language: groups?.["language"] ?? "",
    mark: groups?.["mark"] ?? "",
    text: (groups?.["text"] ?? "").replaceAll(new RegExp(`^${groups?.["indent"] ?? ""}`, "gm"), ""),
    line: markdown.slice(0, index).split("\n").length,
  }));
}

/** A page without its fenced blocks. */
export function prose(markdown: string): string {
  return markdown.replaceAll(/^[ ]*```.*?^[ ]*```$/gms, "");
}

/** What stands in a page as code: each span between backticks, and each line of its shell blocks. */
export function codeSpans(markdown: string): string[] {
  return Array.from(prose(markdown).matchAll(/`([^`\n]+)`/g), ([, span]) => span ?? "");
}

/** The shell commands of a page: a line each, those that go on in the next line joined, without comments. */
export function shellLines(markdown: string): string[] {
  return snippets(markdown)
    .filter(({ language }) => language === "sh")
    .flatMap(({ text }) => text.replaceAll(/\\\n\s*/g, " ").split("\n"))
    .map((line) => line.replace(/(^|\s)#\s.*$/, "").trim());
}
