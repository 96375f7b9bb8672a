import { expect, it } from "vitest";
import { settings } from "../../src/config.ts";
import { readPage } from "./pages.ts";

it("docs/settings.md lists every setting with its default and meaning, as the code has them", async () => {
  const rows = settings.map(({ name, default: fallback, meaning }) => [
    `\`${name}\``,
    fallback === "" ? "" : `\`${fallback}\``,
    meaning.replaceAll("|", "\\|"),
  ]);
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  const table = [["setting", "default", "what it does"], ["---", "---", "---"], ...rows].map(line).join("\n");
  const page = await readPage("docs/settings.md");
  expect(/^<!-- settings: [^>]* -->\n(.*?)\n<!-- \/settings -->$/ms.exec(page)?.[1]).toBe(table);
});
