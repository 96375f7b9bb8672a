// Names the native packages that belong on this machine by package-lock.json and are not in node_modules, one a line. npm
// leaves an optional package out without a word when the Node.js that runs npm is too old for it, and when it could not be
// fetched or unpacked.

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

interface LockedPackage {
  readonly os?: string | readonly string[];
  readonly cpu?: string | readonly string[];
  readonly libc?: string | readonly string[];
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

const lock = JSON.parse(readFileSync("package-lock.json", "utf8")) as {
  packages: Readonly<Record<string, LockedPackage>>;
};

// Only what something that is installed wants: development's packages may have been left out on purpose.
const wanted = Object.entries(lock.packages).flatMap(([folder, { optionalDependencies = {} }]) =>
  existsSync(folder || ".") ? Object.keys(optionalDependencies).map((name) => locate(folder, name)) : [],
);
for (const folder of new Set(wanted)) {
  if (folder !== undefined && belongsHere(folder) && !existsSync(join(folder, "package.json")))
    console.log(folder.slice(folder.lastIndexOf("node_modules/") + "node_modules/".length));
}

/** The folder in which Node.js would find a package from another one's folder, going outwards. */
function locate(from: string, name: string): string | undefined {
  for (let base = from; ; base = base.slice(0, Math.max(0, base.lastIndexOf("node_modules/") - 1))) {
    const folder = join(base, "node_modules", name);
    if (folder in lock.packages) return folder;
    if (base === "") return undefined;
  }
}

function belongsHere(folder: string): boolean {
  const { os, cpu, libc } = lock.packages[folder] ?? {};
  return allows(os, process.platform) && allows(cpu, process.arch) && allows(libc, "glibc");
}

/** As npm reads `os`, `cpu` and `libc`, of which no package here excludes a value with `!`. */
function allows(values: string | readonly string[] | undefined, value: string): boolean {
  return values === undefined || [values].flat().includes(value);
}
