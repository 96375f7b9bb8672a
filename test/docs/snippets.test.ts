import { execFile, execFileSync } from "node:child_process";
import { globSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { parseDeviceFilter } from "../../src/device/filter/device-filter.ts";
import { compileCache } from "../support/run-cli.ts";
import { firstStart } from "./first-start.ts";
import { pages, readPage, root, type Snippet, snippets } from "./pages.ts";

/*
 * Every shell and JavaScript block of the documentation says above itself whether it is run here:
 *
 *   <!-- run -->              run, after those before it on the page
 *   <!-- not run: reason -->  not run
 *   <!-- from FILE -->        not run; it stands in that file
 *   <!-- prints -->           what the blocks before it have to print, line by line; `…` stands for anything
 *
 * All pages share one fresh service, in the order of `runPages`: what one makes, the next ones find.
 */

/** The pages whose blocks are run, the walk-through first because it makes what the others look at. */
const runPages = [
  "docs/walk-through.md",
  "docs/device.md",
  "docs/device-protocol.md",
  "docs/firmware.md",
  "docs/recalls.md",
  "docs/access.md",
  "docs/telemetry.md",
  "docs/rest.md",
  "README.md",
];

/** For hangs alone: a database is made and the command line started some dozen times, which a busy machine takes minutes for. */
const deadlineMs = 600_000;

const run = promisify(execFile);

describe.each(pages)("%s", (page) => {
  it("says of each block of shell or JavaScript whether it is run", async () => {
    const blocks = snippets(await readPage(page)).filter(({ language }) =>
      /^(?:sh|bash|js|ts)$/.test(language),
    );
    const known = runPages.includes(page)
      ? /^(?:run|not run: \S.*|from \S+)$/
      : /^(?:not run: \S.*|from \S+)$/;
    expect(blocks.filter(({ mark }) => !known.test(mark))).toEqual([]);
  });

  it("quotes code and contract as they stand, readable JSON, and filters that the service takes", async () => {
    const faults: string[] = [];
    for (const snippet of snippets(await readPage(page))) {
      const fault = await faultOf(snippet);
      if (fault !== undefined) faults.push(`line ${snippet.line}: ${fault}`);
    }
    expect(faults).toEqual([]);
  });
});

async function faultOf({ language, mark, text }: Snippet): Promise<string | undefined> {
  const file = /^from (\S+)$/.exec(mark)?.[1];
  const quoted = file === undefined ? (language === "proto" ? "proto/ota/v1/*.proto" : undefined) : file;
  if (quoted !== undefined) {
    const files = globSync(quoted, { cwd: root });
    const texts = await Promise.all(files.map((each) => readFile(join(root, each), "utf8")));
    return texts.some((each) => condensed(each).includes(condensed(text)))
      ? undefined
      : `is not in ${quoted}`;
  }
  try {
    if (language === "json") JSON.parse(text);
    if (mark === "filters") for (const line of text.trim().split("\n")) parseDeviceFilter(line);
    return undefined;
  } catch (error) {
    return String(error);
  }
}

it.skipIf(!hasCurl())(
  "the blocks of the pages work as they stand, and print what the pages say",
  async () => {
    await using service = await firstStart();
    await using cleanup = new AsyncDisposableStack();
    const folder = await mkdtemp(join(tmpdir(), "device-ota-docs-"));
    cleanup.defer(() => rm(folder, { recursive: true, force: true }));
    const env = {
      PATH: `${await commandFolder(folder)}:${join(root, "node_modules/.bin")}:${process.env["PATH"]}`,
      HOME: folder,
      DEVICE_OTA_SERVER: service.grpcAddress,
      DEVICE_OTA_TOKEN: service.adminToken,
      ENROLMENT_KEY: service.enrolmentKey,
      SERVICE: service.httpUrl,
      NODE_COMPILE_CACHE: compileCache,
    };
    for (const page of runPages) {
      const blocks = snippets(await readPage(page));
      expect(
        blocks.map(({ mark }) => mark),
        page,
      ).toContain("run");
      const script = join(folder, `${page.replaceAll("/", "-")}.sh`);
      await writeFile(script, scriptOf(blocks));
      const { stdout } = await run("bash", ["-euo", "pipefail", script], {
        cwd: folder,
        timeout: deadlineMs,
        env,
      });
      const printed = blocks.filter(({ mark }) => mark === "prints").map(({ text }) => text);
      expect(missingLines(printed, stdout), `${page}:\n${stdout}`).toEqual([]);
    }
  },
  deadlineMs,
);

/** The blocks to run as one script; those in JavaScript are modules for Node. */
function scriptOf(blocks: readonly Snippet[]): string {
  return blocks
    .filter(({ mark }) => mark === "run")
    .map(({ language, text }) => (language === "js" ? `node --input-type=module <<'JS'\n${text}JS\n` : text))
    .join("\n")
    .concat("\njobs -p | xargs --no-run-if-empty kill\nwait\n");
}

/** The lines that a page promises and the output does not have, looked for in order; there may be others between. */
function missingLines(printed: readonly string[], output: string): string[] {
  const promised = printed.flatMap((text) => text.trim().split("\n")).filter((line) => line.trim() !== "…");
  let from = 0;
  return promised.filter((line) => {
    const wanted = patternOf(line);
    wanted.lastIndex = from;
    const found = wanted.exec(output);
    if (found !== null) from = wanted.lastIndex;
    return found === null;
  });
}

/** Finds a line that a page promises, or a part of one: blanks count as one, and `…` stands for anything. */
function patternOf(line: string): RegExp {
  const parts = line.trim().split("…");
  const escaped = parts.map((part) =>
    part.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&").replaceAll(/\s+/g, "\\s+"),
  );
  return new RegExp(escaped.join(".*?"), "g");
}

/** Without comments and with single blanks. */
function condensed(text: string): string {
  return text.replaceAll(/\s+/g, " ").trim();
}

/** A folder with `device-ota`, as the alias of the walk-through makes it. */
async function commandFolder(folder: string): Promise<string> {
  const bin = join(folder, "bin");
  await mkdir(bin);
  await symlink(join(root, "bin/device-ota"), join(bin, "device-ota"));
  return bin;
}

function hasCurl(): boolean {
  try {
    execFileSync("curl", ["--version"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}
