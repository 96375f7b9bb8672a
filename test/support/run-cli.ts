import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";

/** The command line of this tree, as the run has built it before its first test. */
const thisProgram: Program = [process.execPath, join(import.meta.dirname, "../../dist/command-line/main.js")];

/** A program and its first arguments, before those of the run. */
export type Program = readonly [file: string, ...args: string[]];

/** Compiled sources, shared by all runs: a start costs a third less of a busy machine. */
export const compileCache = join(import.meta.dirname, "../../node_modules/.cache/compiled");

/** How a run of the command line ended. */
export interface CliResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A run of the command line that goes on. */
export interface CliRun {
  readonly child: ChildProcess;
  /** What it has written so far. */
  readonly output: { stdout: string; stderr: string };
  readonly result: Promise<CliResult>;
}

/** Starts the real command line as a process of its own, with nothing of the user's settings. */
export function startCli(
  args: readonly string[],
  options: {
    readonly cwd: string;
    readonly env?: Readonly<Record<string, string>>;
    /** A file for its standard output; or a pipe that nobody reads. */
    readonly stdout?: number | "unread";
    /** The command line of another tree, or this one in a shell that has narrowed its limits. */
    readonly program?: Program;
  },
): CliRun {
  const [file, ...first] = options.program ?? thisProgram;
  const child = spawn(file, [...first, ...args], {
    cwd: options.cwd,
    env: {
      PATH: process.env["PATH"],
      HOME: process.env["HOME"],
      NODE_COMPILE_CACHE: compileCache,
      ...options.env,
    },
    stdio: ["ignore", typeof options.stdout === "number" ? options.stdout : "pipe", "pipe"],
  });
  const output = { stdout: "", stderr: "" };
  if (options.stdout !== "unread") {
    child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      output.stdout += text;
    });
  }
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    output.stderr += text;
  });
  const result = once(child, "close").then(
    ([code]): CliResult => ({ exitCode: typeof code === "number" ? code : -1, ...output }),
  );
  return { child, output, result };
}

/** Runs the command line to its end. */
export function runCli(
  args: readonly string[],
  options: { readonly cwd: string; readonly env?: Readonly<Record<string, string>> },
): Promise<CliResult> {
  return startCli(args, options).result;
}
