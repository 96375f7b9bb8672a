import { stripVTControlCharacters } from "node:util";
import type { Terminal } from "./terminal.ts";

/**
 * Lines that are drawn over and over in the same place. Only for interactive terminals. The cursor is hidden meanwhile;
 * `close` brings it back and leaves the last picture standing.
 */
export class LiveView implements Disposable {
  readonly #terminal: Terminal;
  #drawn = 0;
  #open = false;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  /** Replaces what was drawn before. */
  draw(lines: readonly string[]): void {
    const hide = this.#open ? "" : HIDE_CURSOR;
    this.#open = true;
    const width = this.#terminal.columns;
    const body = lines.map((line) => `${fit(line, width)}${CLEAR_TO_END_OF_LINE}\n`).join("");
    this.#terminal.write(`${hide}${this.#up()}${body}${CLEAR_BELOW}`);
    this.#drawn = lines.length;
  }

  /** Leaves what is drawn where it is and goes on below it. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#drawn = 0;
    this.#terminal.write(SHOW_CURSOR);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #up(): string {
    return this.#drawn === 0 ? "" : `\u001b[${this.#drawn}A\r`;
  }
}

const HIDE_CURSOR = "\u001b[?25l";
const SHOW_CURSOR = "\u001b[?25h";
const CLEAR_TO_END_OF_LINE = "\u001b[K";
const CLEAR_BELOW = "\u001b[J";

/** A line that wraps would take two rows and break the redraw: one that is too long is cut, and loses its colours. */
function fit(line: string, width: number): string {
  const plain = stripVTControlCharacters(line);
  return plain.length < width ? line : plain.slice(0, Math.max(0, width - 1));
}
