import { execFileSync, spawnSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { expect, it, onTestFinished } from "vitest";

const root = join(import.meta.dirname, "../..");
const bin = join(root, "bin");
const built = "dist/command-line/main.js";
const sources = "src/main.ts";

/** A working copy whose Node.js tells which program it is given. */
function workingCopy() {
  const root = mkdtempSync(join(tmpdir(), "built test "));
  onTestFinished(() => rmSync(root, { recursive: true }));
  const path = (name: string) => join(root, name);
  const write = (name: string, text = "") => {
    mkdirSync(dirname(path(name)), { recursive: true });
    writeFileSync(path(name), text);
  };
  for (const name of ["src/main.ts", "src/device/a.ts", "src/console/main.tsx", "gen/ota_pb.ts"]) write(name);
  for (const name of ["package.json", "package-lock.json", "scripts/build-command-line.ts"]) write(name);
  write("node_modules/.package-lock.json");
  for (const name of ["device-ota", "is-built"]) {
    mkdirSync(path("bin"), { recursive: true });
    copyFileSync(join(bin, name), path(`bin/${name}`));
  }
  const arch = process.arch === "x64" ? "x64" : "arm64";
  write(`node_modules/node-linux-${arch}/bin/node`, '#!/bin/sh\necho "$@"\n');
  chmodSync(path(`node_modules/node-linux-${arch}/bin/node`), 0o755);
  return {
    path,
    write,
    /** Until the file system's clock, which goes by ticks, has moved on. */
    build: () => {
      write(built);
      const made = statSync(path(built)).mtimeMs;
      do write("tick", "");
      while (statSync(path("tick")).mtimeMs <= made);
    },
    /** The program that `device-ota fleet status` runs, by its place in the working copy. */
    program: (command = path("bin/device-ota")) => {
      const said = execFileSync(command, ["fleet", "status"], { encoding: "utf8" }).trim();
      expect(said).toMatch(/ fleet status$/);
      return said.slice(root.length + 1, -" fleet status".length);
    },
  };
}

it("runs what was built, also by a link to it", () => {
  const copy = workingCopy();
  copy.build();
  expect(copy.program()).toBe(built);
  symlinkSync(copy.path("bin/device-ota"), copy.path("a link"));
  expect(copy.program(copy.path("a link"))).toBe(built);
  // Of the console nothing was built there.
  copy.write("src/console/main.tsx", "changed");
  expect(copy.program()).toBe(built);
});

it("runs the sources where nothing was built", () => {
  expect(workingCopy().program()).toBe(sources);
});

it.each<[string, (copy: ReturnType<typeof workingCopy>) => void]>([
  ["a source changed", ({ write }) => write("src/device/a.ts", "changed")],
  ["a source is new", ({ write }) => write("src/device/b.ts")],
  ["a source is gone", ({ path }) => rmSync(path("src/device/a.ts"))],
  ["a source has another name", ({ path }) => renameSync(path("src/device/a.ts"), path("src/device/b.ts"))],
  [
    "an older source came back",
    ({ path }) => {
      writeFileSync(path("older"), "older");
      utimesSync(path("older"), 0, 0);
      rmSync(path("src/device/a.ts"));
      linkSync(path("older"), path("src/device/a.ts"));
    },
  ],
  [
    "a source was overwritten and is as old as before",
    ({ path }) => {
      writeFileSync(path("src/device/a.ts"), "changed");
      utimesSync(path("src/device/a.ts"), 0, 0);
    },
  ],
  ["the contract changed", ({ write }) => write("gen/ota_pb.ts", "changed")],
  ["other packages were installed", ({ write }) => write("node_modules/.package-lock.json", "{}")],
  ["other packages are wanted", ({ write }) => write("package-lock.json", "{}")],
  ["nothing is known of the packages", ({ path }) => rmSync(path("node_modules/.package-lock.json"))],
  ["it is built in another way", ({ write }) => write("scripts/build-command-line.ts", "changed")],
])("never runs what was built before %s", (_, change) => {
  const copy = workingCopy();
  copy.build();
  expect(copy.program()).toBe(built);
  change(copy);
  expect(copy.program()).toBe(sources);
});

it("never runs what a build left behind that broke off", () => {
  const copy = workingCopy();
  copyFileSync(join(root, "scripts/build-command-line.ts"), copy.path("scripts/build-command-line.ts"));
  symlinkSync(join(root, "node_modules/rolldown"), copy.path("node_modules/rolldown"));
  copy.write("package.json", '{ "type": "module" }');
  const build = (most: string) =>
    spawnSync("sh", [
      "-c",
      `ulimit -f ${most}; exec "$@"`,
      "sh",
      process.execPath,
      copy.path("scripts/build-command-line.ts"),
    ]);
  copy.write("src/main.ts", "console.log(1);");
  copy.write("src/cli/demo/service-process.ts", "console.log(2);");
  expect(build("unlimited").status).toBe(0);
  expect(copy.program()).toBe(built);
  // The disk, or here a limit, has no room for one of the files.
  copy.write("src/main.ts", "console.log(3);");
  copy.write("src/cli/demo/service-process.ts", `console.log("${"x".repeat(1_000_000)}");`);
  expect(build("100").status).not.toBe(0);
  expect(copy.program()).toBe(sources);
  expect(build("unlimited").status).toBe(0);
  expect(copy.program()).toBe(built);
});

it("of a package runs what was packed, however its files were unpacked", () => {
  const copy = workingCopy();
  copy.build();
  copy.write("src/device/a.ts", "unpacked later");
  rmSync(copy.path("package-lock.json"));
  expect(copy.program()).toBe(built);
});

it("says what to do where there is no Node.js", () => {
  const copy = workingCopy();
  rmSync(copy.path("node_modules"), { recursive: true });
  const { status, stderr } = spawnSync(copy.path("bin/device-ota"), { encoding: "utf8" });
  expect(status).toBe(1);
  expect(stderr).toContain("run `make install`");
});
