import { mkdir, open } from "node:fs/promises";
import { dirname } from "node:path";

/** Makes a folder with those above it, private to the service's user, and durably. */
export async function makeFolder(path: string): Promise<void> {
  const first = await mkdir(path, { recursive: true, mode: 0o700 });
  if (first === undefined) return;
  // Each new folder is an entry of the one above it.
  for (let made = path; made.length >= first.length; made = dirname(made)) await syncFolder(dirname(made));
}

/** Makes names in a folder durable: after creating, renaming or removing a file, `fsync` of the file is not enough. */
export async function syncFolder(path: string): Promise<void> {
  await using folder = await open(path, "r");
  await folder.sync();
}
