import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Example } from "./toolchains.ts";

/** The folders of built examples; gone when disposed. */
export class BuiltExamples implements AsyncDisposable {
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  /** Builds them one after the other: a compiler has the processor to itself as it is. */
  static async build(all: readonly Example[]): Promise<BuiltExamples> {
    const built = new BuiltExamples(await mkdtemp(join(tmpdir(), "device-ota-built-")));
    try {
      for (const example of all) {
        await mkdir(built.folder(example));
        const { build } = example.program;
        if (build !== undefined) await promisify(execFile)(build, [built.folder(example)]);
      }
      return built;
    } catch (error) {
      await built[Symbol.asyncDispose]();
      throw error;
    }
  }

  folder({ name }: Example): string {
    return join(this.#folder, name);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return rm(this.#folder, { recursive: true, force: true, maxRetries: 3 });
  }
}
