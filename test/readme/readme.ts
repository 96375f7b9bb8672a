import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { settings } from "../../src/config.ts";

/** The repository's folder. */
export const root = join(import.meta.dirname, "../..");

/** A Markdown file of the repository. */
export function readMarkdown(path: string): Promise<string> {
  return readFile(join(root, path), "utf8");
}

/** The shell commands under each walk-through marker, in order. */
export function walkThrough(markdown: string): string[] {
  return [...markdown.matchAll(/^<!-- walk-through -->\n```sh\n(.*?)^```$/gms)].map(
    ([, block]) => block ?? "",
  );
}

/** What stands between the markers of the settings table. */
export function settingsSection(markdown: string): string {
  return /^<!-- settings: [^>]* -->\n(.*?)\n<!-- \/settings -->$/ms.exec(markdown)?.[1] ?? "";
}

/** The settings table as it must be, from the settings' own documentation. */
export function settingsTable(): string {
  const rows = settings.map(({ name, default: fallback, meaning }) => [
    `\`${name}\``,
    fallback === "" ? "" : `\`${fallback}\``,
    meaning.replaceAll("|", "\\|"),
  ]);
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [line(["setting", "default", "what it does"]), line(["---", "---", "---"]), ...rows.map(line)].join(
    "\n",
  );
}

/** The targets of a Markdown file's links to other files of the repository, without the part after `#`. */
export function fileLinks(markdown: string): string[] {
  const targets = [...markdown.matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)].map(([, target]) => target ?? "");
  return targets.filter((target) => !/^[a-z]+:/.test(target));
}
