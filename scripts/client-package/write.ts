// Writes the package device-ota-client: the typed client for internal services and the device library, without the server. Its sources
// are those that src/client/library.ts and src/agent/library.ts reach, as JavaScript with declarations, and the contract's code; its
// dependencies are what those import, in the versions that the service has.
//
// Usage: node scripts/client-package/write.ts FOLDER, then `npm pack FOLDER`

import { execFileSync } from "node:child_process";
import { cpSync, globSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseSync } from "oxc-parser";

const root = join(import.meta.dirname, "../..");

/** Parts of the contract that belong to it, with those of others that its code imports. */
const contract = ["gen/ota", "gen/google"];

const folder = resolve(process.argv[2] ?? usage());
rmSync(folder, { recursive: true, force: true });
compile();
for (const part of contract) cpSync(join(root, part), join(folder, part), { recursive: true });
nameDeclarations();
cpSync(join(import.meta.dirname, "README.md"), join(folder, "README.md"));
cpSync(join(root, "LICENSE"), join(folder, "LICENSE"));
writeFileSync(join(folder, "package.json"), `${JSON.stringify(description(), null, 2)}\n`);

function compile(): void {
  execFileSync(join(root, "node_modules/.bin/tsc"), ["--project", import.meta.dirname, "--outDir", folder], {
    stdio: "inherit",
  });
}

/** The compiler names JavaScript in JavaScript, and in declarations still the TypeScript that the package does not have. */
function nameDeclarations(): void {
  for (const file of filesOf("src/**/*.d.ts")) {
    const text = readFileSync(file, "utf8");
    writeFileSync(file, text.replaceAll(/((?:from |import\()"\.[^"]*)\.ts"/g, '$1.js"'));
  }
}

function description(): object {
  const own = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as Record<string, unknown>;
  const entry = (path: string) => ({ types: `./${path}.d.ts`, default: `./${path}.js` });
  return {
    name: "device-ota-client",
    version: own["version"],
    description: "Client and device library of the Device OTA & Heartbeat Service",
    license: own["license"],
    type: "module",
    engines: own["engines"],
    exports: {
      ".": entry("src/client/library"),
      "./agent": entry("src/agent/library"),
      "./ota/v1/*.js": { types: "./gen/ota/v1/*.d.ts", default: "./gen/ota/v1/*.js" },
      "./package.json": "./package.json",
    },
    dependencies: dependencies(own["dependencies"] as Readonly<Record<string, string>>),
  };
}

/** What the code imports, or needs to be understood by a compiler. Throws for what the service itself would not be installed with. */
function dependencies(known: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const names = new Set<string>();
  for (const file of filesOf("**/*.{js,d.ts}")) {
    const { staticImports, staticExports } = parseSync(file, readFileSync(file, "utf8")).module;
    const exported = staticExports.flatMap(({ entries }) =>
      entries.map(({ moduleRequest }) => moduleRequest),
    );
    for (const request of [...staticImports.map(({ moduleRequest }) => moduleRequest), ...exported]) {
      const name = request === null ? undefined : packageOf(request.value);
      if (name !== undefined) names.add(name);
    }
  }
  return Object.fromEntries(
    [...names].toSorted().map((name) => {
      const version = known[name];
      if (version === undefined) throw new Error(`${name} is imported, and is no dependency in package.json`);
      return [name, version];
    }),
  );
}

/** Undefined for files of this package, and for Node.js itself. */
function packageOf(specifier: string): string | undefined {
  if (/^(?:\.|node:)/.test(specifier)) return undefined;
  return specifier
    .split("/")
    .slice(0, specifier.startsWith("@") ? 2 : 1)
    .join("/");
}

function filesOf(pattern: string): readonly string[] {
  return globSync(pattern, { cwd: folder }).map((file) => join(folder, file));
}

function usage(): never {
  throw new Error("usage: write.ts FOLDER");
}
