import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { examples } from "./example-device.ts";
import type { Example } from "./toolchains.ts";

const run = promisify(execFile);

/** The folders of built examples; gone when disposed. */
export class BuiltExamples implements AsyncDisposable {
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  /** Builds them from the proto bundle, one after the other: a compiler has the processor to itself as it is. */
  static async build(all: readonly Example[]): Promise<BuiltExamples> {
    const built = new BuiltExamples(await mkdtemp(join(tmpdir(), "device-ota-built-")));
    try {
      const bundle = join(built.#folder, "proto-bundle");
      await run(process.execPath, [join(examples, "../scripts/proto-bundle/write.ts"), bundle]);
      for (const example of all) {
        await mkdir(built.folder(example));
        const env = { ...process.env, BUNDLE: bundle };
        if (example.build !== undefined) await run(example.build, [built.folder(example)], { env });
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
