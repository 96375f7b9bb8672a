import { writeFile } from "node:fs/promises";
import { CliError, exitCodes } from "./failure.ts";

/** Writes a file, and never over one that exists: a key that is lost cannot be made again. */
export async function writeNew(path: string, text: string, mode: number): Promise<void> {
  try {
    await writeFile(path, text, { mode, flag: "wx" });
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "EEXIST") {
      throw new CliError(
        exitCodes.precondition,
        `${path} exists; it is not overwritten`,
        "Choose another --out.",
      );
    }
    throw error;
  }
}
