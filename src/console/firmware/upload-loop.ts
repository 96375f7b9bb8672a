/** Where the bytes go. */
interface UploadTarget {
  /** How many bytes the service has. */
  committed(signal: AbortSignal): Promise<number>;
  /** Hands in a chunk; answers how many bytes the service has now. */
  send(chunk: Uint8Array<ArrayBuffer>, offset: number, finish: boolean, signal: AbortSignal): Promise<number>;
}

/** What an upload works with. */
interface UploadLoopParts {
  readonly content: Pick<Blob, "size" | "slice">;
  readonly target: UploadTarget;
  readonly signal: AbortSignal;
  /** Hears how many bytes the service has, and undefined when a call failed that may pass. */
  readonly progress: (committed: number | undefined) => void;
  /** Whether a failed call may be made again; otherwise the upload ends with the failure. */
  readonly isPassing: (error: unknown) => boolean;
  /** Waits before the next try; takes the number of failures in a row. */
  readonly pause: (failures: number, signal: AbortSignal) => Promise<void>;
}

/**
 * Uploads a content in chunks from wherever the service has it up to, so it also resumes what an earlier page, or
 * another browser, began. After a failure that may pass it asks again how far the service is, as often as it takes. Ends
 * when the service has verified the whole; rejects when it refuses, or with the signal's reason.
 */
export async function uploadInChunks(parts: UploadLoopParts): Promise<void> {
  const { content, target, signal, progress } = parts;
  for (let failures = 0; ; failures++) {
    try {
      let committed = await target.committed(signal);
      let finished = false;
      while (!finished) {
        signal.throwIfAborted();
        progress(committed);
        const end = Math.min(committed + chunkBytes, content.size);
        const chunk = new Uint8Array(await content.slice(committed, end).arrayBuffer());
        finished = end === content.size;
        committed = await target.send(chunk, committed, finished, signal);
        failures = 0;
      }
      progress(committed);
      return;
    } catch (error) {
      signal.throwIfAborted();
      if (!parts.isPassing(error)) throw error;
      progress(undefined);
      await parts.pause(failures, signal);
    }
  }
}

/** The most that the contract takes in one call: fewer round trips, and still a progress bar that moves. */
export const chunkBytes = 512 * 1024;
