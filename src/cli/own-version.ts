import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { packageFolder } from "../package-folder.ts";

/** The version of this package. */
export async function ownVersion(): Promise<string> {
  const manifest = JSON.parse(await readFile(join(packageFolder, "package.json"), "utf8")) as {
    version: string;
  };
  return manifest.version;
}
