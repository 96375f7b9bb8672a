import { styleText } from "node:util";

/** Colours and weights that the command line uses; plain text where the terminal has none. */
export type Tone = "bold" | "dim" | "red" | "green" | "yellow" | "cyan";

/** Where the command line writes, and what can be shown there. */
export interface Terminal {
  /** Writes a line to standard output: what was asked for. */
  out(line?: string): void;
  /** Writes a line to standard error: notes, progress and failures. */
  note(line: string): void;
  /** Writes to standard output as it is, for what is redrawn in place. */
  write(text: string): void;
  /** Whether standard output can be redrawn in place. */
  readonly interactive: boolean;
  /** Width in characters; 100 where it is unknown. */
  readonly columns: number;
  /** Puts a tone on text for standard output. */
  paint(tone: Tone, text: string): string;
}

/** The part of a stream that a terminal needs; `process.stdout` fits. */
export interface TerminalStream {
  write(text: string): unknown;
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
}

/**
 * A terminal on two streams. Colours are on if standard output is a terminal; NO_COLOR (https://no-color.org) switches
 * them off, FORCE_COLOR on. TERM=dumb neither colours nor redraws.
 */
export function createTerminal(
  stdout: TerminalStream,
  stderr: TerminalStream,
  env: Readonly<Record<string, string | undefined>>,
): Terminal {
  const capable = stdout.isTTY === true && env["TERM"] !== "dumb";
  const coloured = isSet(env["NO_COLOR"])
    ? false
    : isSet(env["FORCE_COLOR"])
      ? env["FORCE_COLOR"] !== "0"
      : capable;
  return {
    out: (line = "") => void stdout.write(`${line}\n`),
    note: (line) => void stderr.write(`${line}\n`),
    write: (text) => void stdout.write(text),
    interactive: capable,
    get columns() {
      return stdout.columns ?? DEFAULT_COLUMNS;
    },
    paint: (tone, text) => (coloured ? styleText(tone, text, { validateStream: false }) : text),
  };
}

const DEFAULT_COLUMNS = 100;

function isSet(value: string | undefined): boolean {
  return value !== undefined && value !== "";
}
