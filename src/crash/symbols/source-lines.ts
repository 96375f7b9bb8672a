import { execFile } from "node:child_process";
import { createWriteStream } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { promisify } from "node:util";
import { OtaError } from "../../errors.ts";
import type { Pool } from "../../infra/database/pool.ts";
import type { ObjectStore } from "../../infra/objects/object-store.ts";
import type { UnnamedCall } from "../stacks/stack.ts";
import { objectsOf, tellsBuild } from "./build-objects.ts";
import { headBytes } from "./symbol-files.ts";

/** What an address is. */
interface SourceLine {
  readonly address: string;
  /** Empty if it is not known. */
  readonly function: string;
  /** Empty if it is not known. */
  readonly file: string;
  /** 0 if it is not known. */
  readonly line: number;
}

/** Lines, or why there are none. */
export interface SourceLines {
  readonly lines: readonly SourceLine[];
  readonly missing: string;
}

/** What {@link SourceLineFinder} is made of. */
export interface SourceLineParts {
  readonly pool: Pool;
  readonly store: ObjectStore;
  /** Programs to try, in this order; each takes the options of addr2line. */
  readonly tools?: readonly string[] | undefined;
}

/**
 * Looks addresses up in symbol files by llvm-symbolizer or addr2line, where one is installed: a process of its own without a
 * shell, of at most {@link maxToolMs} and {@link maxToolBytes} of memory.
 */
export class SourceLineFinder {
  readonly #parts: SourceLineParts;
  #running = 0;

  constructor(parts: SourceLineParts) {
    this.#parts = parts;
  }

  /** The lines of calls of one build. Throws `QUEUE_FULL` if {@link maxRunning} are looked up at the moment. */
  async find(calls: readonly UnnamedCall[], signal: AbortSignal): Promise<SourceLines> {
    const known = calls.filter(({ buildId }) => tellsBuild(buildId));
    const [first] = known;
    if (first === undefined) return missing("the newest stack has no raw addresses of a known build");
    const object = (await objectsOf(this.#parts.pool, [first.buildId])).get(first.buildId);
    if (object === undefined) return missing(`no symbol file of build ${first.buildId} was uploaded`);
    if (this.#running >= maxRunning) throw busy();
    this.#running++;
    try {
      const wanted = known.filter(({ buildId }) => buildId === first.buildId).slice(0, maxCalls);
      return await this.#look(object, wanted, signal);
    } finally {
      this.#running--;
    }
  }

  async #look(object: string, calls: readonly UnnamedCall[], signal: AbortSignal): Promise<SourceLines> {
    const folder = await mkdtemp(join(tmpdir(), "device-ota-symbols-"));
    try {
      const path = join(folder, "program.elf");
      await pipeline(
        await this.#parts.store.read(object, { offset: headBytes, signal }),
        createWriteStream(path),
        { signal },
      );
      for (const tool of this.#parts.tools ?? defaultTools) {
        const output = await run(tool, path, calls, signal);
        if (output !== undefined) return { lines: linesOf(calls, output), missing: "" };
      }
      return missing("neither llvm-symbolizer nor addr2line could be run on the service's machine");
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }
}

const defaultTools = ["llvm-symbolizer", "addr2line"];
const maxCalls = 32;
const maxRunning = 2;
const maxToolMs = 10_000;
const maxToolBytes = 2 * 1024 * 1024 * 1024;

const execute = promisify(execFile);

/** What a tool prints; undefined if it, or the program that bounds its memory, is not there or fails. */
async function run(
  tool: string,
  path: string,
  calls: readonly UnnamedCall[],
  signal: AbortSignal,
): Promise<string | undefined> {
  const hexadecimal = calls.map(({ instruction }) => `0x${instruction.toString(16)}`);
  const style = tool === "llvm-symbolizer" ? ["--output-style=GNU", "--no-inlines"] : [];
  const args = [`--as=${maxToolBytes}`, tool, ...style, "-f", "-C", "-e", path, ...hexadecimal];
  try {
    const { stdout } = await execute("prlimit", args, {
      timeout: maxToolMs,
      killSignal: "SIGKILL",
      maxBuffer: 256 * 1024,
      signal,
    });
    return stdout;
  } catch (error) {
    if (signal.aborted) throw error;
    return undefined;
  }
}

/** Two lines for each call: the function, and `file:line`, with `?` for what is not known. */
function linesOf(calls: readonly UnnamedCall[], output: string): SourceLine[] {
  const printed = output.split("\n");
  return calls.map(({ module, offset }, index) => {
    const name = (printed[index * 2] ?? "").trim();
    const [, file = "", line = ""] =
      /^(.{1,900}):(\d{1,9})/.exec((printed[index * 2 + 1] ?? "").trim()) ?? [];
    return {
      address: `${module === "" ? "" : `${module}+`}0x${offset.toString(16)}`,
      function: name === "??" ? "" : name.slice(0, maxNameLength),
      file: file === "??" ? "" : file,
      line: Number(line),
    };
  });
}

const maxNameLength = 500;

function missing(why: string): SourceLines {
  return { lines: [], missing: why };
}

function busy(): OtaError {
  return new OtaError(
    "resource_exhausted",
    "QUEUE_FULL",
    "source lines are being looked up already; try again",
    {
      retryAfterMs: 2_000,
    },
  );
}
