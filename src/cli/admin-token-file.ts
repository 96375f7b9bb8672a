import { randomUUID } from "node:crypto";
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";

/** Where an administrator's token is left on the machine of the service, readable by its user alone, so that a newcomer needs nothing. */
export function adminTokenFile(dataDir: string): string {
  return join(dataDir, "admin-token");
}

/** The token that was left there; undefined if there is none to be read. */
export async function readAdminToken(dataDir: string): Promise<string | undefined> {
  try {
    return (await readFile(adminTokenFile(dataDir), "utf8")).trim();
  } catch {
    return undefined;
  }
}

/** Written aside and renamed, so that a reader sees a whole token or none, and never one that others could read. */
export async function saveAdminToken(dataDir: string, token: string): Promise<void> {
  const file = adminTokenFile(dataDir);
  await mkdir(dirname(file), { recursive: true });
  // Not by the process's id: in a container that is always 1, and what a killed start left would be in the way for ever.
  const temporary = `${file}.${randomUUID()}`;
  await writeFile(temporary, `${token}\n`, { mode: 0o600, flag: "wx" });
  await rename(temporary, file);
}
