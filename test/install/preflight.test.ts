import { spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";

const script = join(import.meta.dirname, "../../scripts/install");

/** What a machine answers to the installation's questions; a program without an answer is not there. */
interface Machine {
  readonly uname: { readonly "-s": string; readonly "-m": string };
  readonly getconf: string | undefined;
  readonly node: string | undefined;
  readonly npm: string | undefined;
  /** Free room in megabytes. */
  readonly room: number;
}

const good: Machine = {
  uname: { "-s": "Linux", "-m": "x86_64" },
  getconf: "glibc 2.36",
  node: "v18.20.4",
  npm: "9.2.0",
  room: 5_000,
};

/** Runs the installation's checks on such a machine; its npm says when it is asked to install. */
function install(machine: Partial<Machine>) {
  const { uname, getconf, node, npm, room } = { ...good, ...machine };
  const root = mkdtempSync(join(tmpdir(), "preflight test "));
  onTestFinished(() => rmSync(root, { recursive: true }));
  const bin = join(root, "bin");
  for (const folder of ["bin", "scripts", "node_modules"]) mkdirSync(join(root, folder));
  copyFileSync(script, join(root, "scripts/install"));
  writeFileSync(join(root, "package-lock.json"), "{}");
  const program = (name: string, text: string | undefined): void => {
    if (text === undefined) return;
    writeFileSync(join(bin, name), `#!/bin/sh\n${text}\n`);
    chmodSync(join(bin, name), 0o755);
  };
  program("uname", `case $1 in -s) echo ${uname["-s"]} ;; -m) echo ${uname["-m"]} ;; esac`);
  program("getconf", getconf === undefined ? "exit 1" : `echo ${getconf}`);
  program("node", node && `case $1 in --version) echo ${node} ;; *) echo x64 ;; esac`);
  program("npm", npm && `case $1 in --version) echo ${npm} ;; ci) echo downloads >&2; exit 1 ;; esac`);
  program("df", `echo header; echo disk 0 0 ${room * 1000} 0% /`);
  for (const tool of ["dirname", "awk", "du", "find", "flock", "id"])
    symlinkSync(join("/usr/bin", tool), join(bin, tool));
  const { stderr } = spawnSync("/bin/sh", [join(root, "scripts/install")], {
    env: { PATH: bin },
    encoding: "utf8",
  });
  return stderr.trimEnd().split("\n");
}

it("downloads where Debian 12 is enough", () => {
  expect(install({})[0]).toBe("downloads");
});

it.each<[string, Partial<Machine>, RegExp]>([
  ["another system", { uname: { "-s": "Darwin", "-m": "x86_64" } }, /runs on Linux, and this is Darwin/],
  [
    "another processor",
    { uname: { "-s": "Linux", "-m": "armv7l" } },
    /x64 and arm64, and this machine is armv7l/,
  ],
  ["musl", { getconf: undefined }, /needs glibc, and this system has another C library/],
  ["an old glibc", { getconf: "glibc 2.27" }, /needs glibc 2\.28 or newer, and this system has 2\.27/],
  ["no Node.js", { node: undefined }, /there is no node; install it \(Debian and Ubuntu: apt-get install/],
  ["an old Node.js", { node: "v16.20.2" }, /Node\.js 18 or newer is needed .* this is v16\.20\.2/],
  ["no npm", { npm: undefined }, /there is no npm; install it/],
  ["an old npm", { npm: "8.19.4" }, /npm 9 or newer is needed .* this is 8\.19\.4/],
  ["no room", { room: 300 }, /node_modules needs 1,200 MB, and .* has room for 300; make room/],
])("refuses %s in one line, before it downloads anything", (_, machine, line) => {
  expect(install(machine)).toEqual([expect.stringMatching(line)]);
});
