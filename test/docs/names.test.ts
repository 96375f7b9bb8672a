import { existsSync, globSync, statSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Command } from "commander";
import { beforeAll, describe, expect, it } from "vitest";
import { createProgram } from "../../src/cli/command-line.ts";
import { createTerminal } from "../../src/cli/terminal.ts";
import { settings } from "../../src/config.ts";
import { codeSpans, pages, readPage, root, shellLines } from "./pages.ts";

/** Settings of the command line, which are none of the service. */
const commandLineSettings = ["DEVICE_OTA_SERVER", "DEVICE_OTA_TOKEN"];

/** Every word of the code: also columns of tables and names of headers stand in some source. */
let words: ReadonlySet<string>;
let program: Command;
beforeAll(async () => {
  const files = globSync(
    [
      "src/**/*.{ts,tsx}",
      "proto/**/*.proto",
      "test/**/*.ts",
      "bench/**/*.ts",
      "scripts/*",
      "scripts/**/*.ts",
      "*.json",
      "Makefile",
    ],
    { cwd: root, exclude: ["**/test/docs/**", "package-lock.json"] },
  ).filter((file) => statSync(join(root, file)).isFile());
  const texts = await Promise.all(files.map((file) => readFile(join(root, file), "utf8")));
  words = new Set(texts.flatMap((text) => text.match(/[A-Za-z_$][\w$]*/g) ?? []));
  const stream = { write: () => undefined };
  program = createProgram({
    terminal: createTerminal(stream, stream, {}),
    signal: new AbortController().signal,
    env: {},
  });
});

describe.each(pages)("%s", (page) => {
  it("names files and folders that are there", async () => {
    const paths = (await spansOf(page)).filter((span) =>
      /^(?:src|test|docs|proto|gen|bench|deploy|scripts|\.github)\/[\w./*{},-]*$/.test(span),
    );
    expect(
      paths.filter((path) => !existsSync(join(root, path)) && globSync(path, { cwd: root }).length === 0),
    ).toEqual([]);
  });

  it("names settings that exist", async () => {
    const known = new Set([...settings.map(({ name }) => name), ...commandLineSettings]);
    const named = (await readPage(page)).match(/\bDEVICE_OTA_[A-Z0-9_]*[A-Z0-9](?!\w|\*)/g) ?? [];
    expect(named.filter((name) => !known.has(name) && !words.has(name))).toEqual([]);
  });

  it("names targets of make and scripts of npm that exist", async () => {
    const makefile = await readFile(join(root, "Makefile"), "utf8");
    const { scripts } = JSON.parse(await readFile(join(root, "package.json"), "utf8")) as { scripts: object };
    const commands = [...(await spansOf(page)), ...shellLines(await readPage(page))];
    const targets = commands.flatMap((each) => /^make (?:--[\w-]+ )*([a-z-]+)/.exec(each)?.[1] ?? []);
    expect(targets.filter((name) => !new RegExp(`^${name}:`, "m").test(makefile))).toEqual([]);
    const names = commands.flatMap((each) => /^npm run (?:--[\w-]+ )*([\w:-]+)/.exec(each)?.[1] ?? []);
    expect(names.filter((name) => !(name in scripts))).toEqual([]);
  });

  it("names commands and options of the command line that exist", async () => {
    const lines = [...(await spansOf(page)), ...shellLines(await readPage(page))];
    const faults = lines
      .flatMap((line) => /(?:^|\$\(|\| )device-ota ([a-z].*)$/.exec(line)?.[1] ?? [])
      .flatMap((line) => commandFaults(line.split(/\s+/)));
    expect(faults).toEqual([]);
  });

  it("names things as the code does", async () => {
    const named = new Set((await spansOf(page)).flatMap((span) => span.match(identifier) ?? []));
    expect(
      [...named].filter((name) => !name.split(/[.*]/).every((part) => part === "" || isKnown(part))),
    ).toEqual([]);
  });
});

/** CamelCase, snake_case and UPPER_CASE words, alone or with dots between them. */
const identifier = /^(?:[A-Za-z][a-z0-9]*(?:[A-Z_][A-Za-z0-9]*)+|[A-Z]{3,})(?:\.[A-Za-z_]+)*(?=$|\s?=)/g;

/** A word of the code; metrics are put together from a prefix and their name. */
function isKnown(name: string): boolean {
  // Settings have a test of their own, capabilities are Linux's, and metrics of the process prom-client's.
  if (words.has(name) || /^(?:DEVICE_OTA|CAP|nodejs|process|OTEL|SENTRY)_/.test(name)) return true;
  const metric = /^device_ota_(\w+)$/.exec(name)?.[1];
  return metric !== undefined && (words.has(metric) || words.has(metric.replace(/^ingest_/, "")));
}

function spansOf(page: string): Promise<string[]> {
  return readPage(page).then(codeSpans);
}

function commandFaults(tokens: readonly string[]): string[] {
  let command = program;
  const options = new Set(command.options.map(({ long }) => long));
  const faults: string[] = [];
  let atNames = true;
  for (const token of tokens) {
    if (atNames && /^[a-z][a-z-]*$/.test(token)) {
      const found = command.commands.find((each) => each.name() === token);
      if (found === undefined && command.commands.length > 0)
        faults.push(`device-ota ${tokens.join(" ")}: ${token}`);
      if (found === undefined) atNames = false;
      else command = found;
      for (const { long } of found?.options ?? []) options.add(long);
    } else atNames = false;
    const option = /^(--[a-z][\w-]*)/.exec(token)?.[1];
    if (option !== undefined && option !== "--help" && !options.has(option))
      faults.push(`device-ota ${tokens.join(" ")}: ${option}`);
  }
  return faults;
}
