import { readFile, writeFile } from "node:fs/promises";
import { extname, join } from "node:path";
import { promisify } from "node:util";
import { brotliCompress, constants, gzip } from "node:zlib";
import type { Plugin } from "vite";

/** Writes a `.br` and a `.gz` beside each text file of the build, so that the service need not compress while it serves. */
export function precompress(): Plugin {
  return {
    name: "precompress",
    apply: "build",
    async writeBundle({ dir = "." }, bundle) {
      await Promise.all(Object.keys(bundle).map((name) => compress(join(dir, name))));
    },
  };
}

const brotli = promisify(brotliCompress);
const gzipped = promisify(gzip);

const compressible = new Set([".js", ".css", ".html", ".svg", ".json"]);

/** Smaller files gain less than a packet. */
const leastBytes = 1_024;

async function compress(path: string): Promise<void> {
  if (!compressible.has(extname(path))) return;
  const content = await readFile(path);
  if (content.length < leastBytes) return;
  const params = { [constants.BROTLI_PARAM_SIZE_HINT]: content.length };
  await writeFile(`${path}.br`, await brotli(content, { params }));
  await writeFile(`${path}.gz`, await gzipped(content, { level: 9 }));
}
