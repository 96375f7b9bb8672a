import { type Options, SingleBar } from "cli-progress";
import { bytesText } from "./format.ts";

/** Shows how far a transfer has come. */
export interface Progress extends Disposable {
  /** Sets how many bytes are done. */
  update(bytes: number): void;
}

/** A progress bar on standard error, so that standard output stays the command's answer; nothing if it is no terminal. */
export function transferProgress(label: string, totalBytes: number): Progress {
  if (!process.stderr.isTTY) return { update: () => undefined, [Symbol.dispose]: () => undefined };
  const bar = new SingleBar({
    format: `${label} {bar} {percentage} %  {done} of ${bytesText(totalBytes)}  {eta_formatted} left`,
    barCompleteChar: "█",
    barIncompleteChar: "░",
    hideCursor: true,
    stream: process.stderr,
    // Its own signal handlers would end the process before the command can clean up.
    gracefulExit: false,
  } satisfies Options);
  bar.start(totalBytes, 0, { done: bytesText(0) });
  return {
    update: (bytes) => bar.update(bytes, { done: bytesText(bytes) }),
    [Symbol.dispose]: () => bar.stop(),
  };
}
