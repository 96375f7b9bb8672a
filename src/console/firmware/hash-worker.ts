import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex } from "@noble/hashes/utils.js";

/** What the worker tells: how far it is, then the digest; or that the file cannot be read. */
export type HashMessage =
  | { readonly done: number }
  | { readonly sha256: string }
  | { readonly failure: string };

/** Bytes read at a time: few enough for a progress that moves, enough to keep the disk busy. */
const sliceBytes = 4 * 1024 * 1024;

// The browser's own SHA-256 wants the whole content at once, which may be gigabytes; this one takes it piece by piece.
self.addEventListener("message", ({ data }: MessageEvent<Blob>) => {
  void hash(data).catch((error: unknown) => {
    tell({ failure: error instanceof Error ? error.message : String(error) });
  });
});

async function hash(file: Blob): Promise<void> {
  const state = sha256.create();
  for (let offset = 0; offset < file.size; offset += sliceBytes) {
    const slice = file.slice(offset, offset + sliceBytes);
    state.update(new Uint8Array(await slice.arrayBuffer()));
    tell({ done: Math.min(offset + sliceBytes, file.size) });
  }
  tell({ sha256: bytesToHex(state.digest()) });
}

function tell(message: HashMessage): void {
  self.postMessage(message);
}
