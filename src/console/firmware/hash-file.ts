import type { HashMessage } from "./hash-worker.ts";

/** Computes a file's SHA-256 beside the page, as 64 hexadecimal digits. `progress` hears of bytes done. */
export function hashFile(file: Blob, signal: AbortSignal, progress: (done: number) => void): Promise<string> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL("./hash-worker.ts", import.meta.url), { type: "module" });
    const stop = () => {
      worker.terminate();
      reject(signal.reason as Error);
    };
    const settle = (act: () => void) => {
      signal.removeEventListener("abort", stop);
      worker.terminate();
      act();
    };
    worker.addEventListener("message", ({ data }: MessageEvent<HashMessage>) => {
      if ("done" in data) progress(data.done);
      else if ("sha256" in data) settle(() => resolve(data.sha256));
      else settle(() => reject(new Error(data.failure)));
    });
    worker.addEventListener("error", () => settle(() => reject(new Error("the file could not be read"))));
    signal.addEventListener("abort", stop);
    if (signal.aborted) stop();
    else worker.postMessage(file);
  });
}
