// The licences of everything that the lock file names, on every platform: prints them with their packages, those that the
// service runs with apart from tools and what the console is built of. Fails if a package has none, or one that is not
// on the list below.
//
//   node scripts/licences.ts          lists them
//   node scripts/licences.ts --quiet  says only what is wrong, as `make check` wants it

import { readFileSync } from "node:fs";

/** Licences under which a package may be passed on with the service, as SPDX names them. */
const mayShip = new Set([
  "0BSD",
  "Apache-2.0",
  "BlueOak-1.0.0",
  "BSD-2-Clause",
  "BSD-3-Clause",
  "ISC",
  "MIT",
  "MIT-0",
  "Unlicense",
  "(Apache-2.0 AND BSD-3-Clause)",
  "MIT OR Apache-2.0",
  "(MIT OR CC0-1.0)",
]);

/** Licences that only tools may have besides, which are never part of what is passed on. */
const mayBuild = new Set([...mayShip, "MPL-2.0", "PSF-2.0"]);

interface LockedPackage {
  version: string;
  license?: string;
  dev?: boolean;
}

const quiet = process.argv.includes("--quiet");
const lock = JSON.parse(readFileSync("package-lock.json", "utf8")) as {
  packages: Record<string, LockedPackage>;
};
const packages = Object.entries(lock.packages)
  .filter(([path]) => path !== "")
  .map(([path, locked]) => ({
    name: `${path.slice(path.lastIndexOf("node_modules/") + "node_modules/".length)}@${locked.version}`,
    licence: locked.license ?? "none",
    tool: locked.dev === true,
  }));

if (!quiet) {
  print(
    "What the service runs with",
    packages.filter(({ tool }) => !tool),
  );
  print(
    "Tools, and what the console is built of",
    packages.filter(({ tool }) => tool),
  );
}

const refused = packages.filter(({ licence, tool }) => !(tool ? mayBuild : mayShip).has(licence));
for (const { name, licence } of refused)
  console.error(`${name}: the licence ${licence} is not on the list of scripts/licences.ts`);
if (refused.length > 0) process.exitCode = 1;

function print(title: string, some: typeof packages): void {
  console.log(`${title}: ${some.length} packages`);
  for (const [licence, of] of [...Map.groupBy(some, ({ licence }) => licence)].sort(
    ([, a], [, b]) => b.length - a.length,
  ))
    console.log(`  ${licence}: ${of.map(({ name }) => name).join(", ")}`);
}
