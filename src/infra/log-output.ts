import { fstatSync, writeSync } from "node:fs";
import { Socket } from "node:net";
import { Alarm } from "./alarm.ts";

/**
 * Where the log goes, which never holds the service up. A disk that is full, a pipe whose reader is slow and a reader that is
 * gone cost lines and nothing else: lines wait within {@link maxWaitingBytes}, what is more is dropped and counted, and a
 * line says how many were lost once there is room again. Only a terminal whose output somebody stopped (Ctrl-S) still waits
 * for its user.
 *
 * Lines are written at once, so that what was logged before a crash is there. pino's own output is not used because it
 * tries for ever in its exit hook when a disk is full.
 */
export class LogOutput implements AsyncDisposable {
  readonly #sink: (bytes: Uint8Array) => number;
  readonly #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  #dropped = 0;
  #untold = 0;
  readonly #alarm = new Alarm();
  readonly #closing = new AbortController();
  #retrying: Promise<void> | undefined;

  /** Writes to a sink, which returns how many bytes it took, and throws as `fs.writeSync` does. */
  constructor(sink: (bytes: Uint8Array) => number) {
    this.#sink = sink;
  }

  /** The standard output of the process, which from now on does not block if it is a pipe. */
  static standard(): LogOutput {
    const { fd } = process.stdout;
    const stat = fstatSync(fd);
    // Node's only way to make a descriptor that does not block. The socket itself neither reads nor writes.
    if (stat.isFIFO() || stat.isSocket()) unblocked ??= new Socket({ fd, readable: false }).unref();
    return new LogOutput((bytes) => writeSync(fd, bytes));
  }

  /** Lines that were lost since the start. */
  get droppedLines(): number {
    return this.#dropped;
  }

  /** Takes a line, with its line break. Neither throws nor waits. */
  write(line: string): void {
    const bytes = Buffer.from(line);
    if (this.#waiting.length === 0) {
      const rest = this.#put(bytes);
      if (rest.length > 0) this.#keep(rest);
    } else if (this.#waitingBytes + bytes.length <= maxWaitingBytes) {
      this.#keep(bytes);
    } else {
      this.#dropped += 1;
      this.#untold += 1;
    }
  }

  /** Writes what can be written now; what cannot is lost. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    await this.#retrying;
    this.#flush();
  }

  #keep(bytes: Uint8Array): void {
    this.#waiting.push(bytes);
    this.#waitingBytes += bytes.length;
    if (!this.#closing.signal.aborted) this.#retrying ??= this.#retry();
  }

  async #retry(): Promise<void> {
    let pauseMs = minPauseMs;
    while (this.#waiting.length > 0 && !this.#closing.signal.aborted) {
      await this.#alarm.wait(pauseMs, this.#closing.signal);
      pauseMs = this.#flush() ? minPauseMs : Math.min(2 * pauseMs, maxPauseMs);
    }
    this.#retrying = undefined;
  }

  /** Writes what waits, then how many lines were lost; whether anything could be written. */
  #flush(): boolean {
    let written = false;
    for (let first = this.#waiting[0]; first !== undefined; first = this.#waiting[0]) {
      const rest = this.#put(first);
      this.#waitingBytes -= first.length - rest.length;
      written ||= rest.length < first.length;
      if (rest.length > 0) {
        this.#waiting[0] = rest;
        return written;
      }
      this.#waiting.shift();
      if (this.#waiting.length === 0 && this.#untold > 0) this.#tellLoss();
    }
    return written;
  }

  #tellLoss(): void {
    const line = {
      level: 40,
      time: new Date().toISOString(),
      lines: this.#untold,
      msg: "lines of the log were lost",
    };
    this.#untold = 0;
    this.#keep(Buffer.from(`${JSON.stringify(line)}\n`));
  }

  /** What could not be written of it; all of it if the output takes nothing. */
  #put(bytes: Uint8Array): Uint8Array {
    try {
      return bytes.subarray(this.#sink(bytes));
    } catch {
      return bytes;
    }
  }
}

/** Kept, because a socket that is collected closes its descriptor. */
let unblocked: Socket | undefined;

/** The most that waits for a slow or full output; about 10,000 lines. */
export const maxWaitingBytes = 4 * 1024 * 1024;

const minPauseMs = 20;
const maxPauseMs = 2_000;
