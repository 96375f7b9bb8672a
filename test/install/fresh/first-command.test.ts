import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

// The oldest that the README promises, as Debian 12 has them. Both come from the registry, like all that is installed here.
const oldNode = "18.20.4";
const oldNpm = "9.2.0";

const tree = join(import.meta.dirname, "../../..");

describe(`with Node.js ${oldNode} and npm ${oldNpm}, in a folder that is closed to others and has a blank in its path`, () => {
  let folder: string;
  let copy: string;
  let env: NodeJS.ProcessEnv;

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "fresh machine "));
    chmodSync(folder, 0o700);
    copy = join(folder, "device ota");
    const bin = join(folder, "bin");
    for (const made of [copy, bin]) mkdirSync(made);
    copyTree(copy);
    const packages = [`npm@${oldNpm}`, `node-linux-${process.arch}@${oldNode}`];
    const flags = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-save", "--loglevel=error"];
    execFileSync("npm", ["install", "--prefix", folder, ...flags, ...packages], { env: machine(undefined) });
    symlinkSync(join(folder, `node_modules/node-linux-${process.arch}/bin/node`), join(bin, "node"));
    symlinkSync(join(folder, "node_modules/npm/bin/npm-cli.js"), join(bin, "npm"));
    env = machine(bin);
  });

  afterAll(() => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }));

  it("starts with them", () => {
    expect(execFileSync("node", ["--version"], { env, encoding: "utf8" }).trim()).toBe(`v${oldNode}`);
  });

  it("says in one line that the registry is out of reach", () => {
    const nowhere = {
      ...env,
      npm_config_registry: "http://127.0.0.1:1/",
      npm_config_cache: join(folder, "empty cache"),
    };
    const { status, stderr } = spawnSync(join(copy, "scripts/install"), {
      cwd: copy,
      env: nowhere,
      encoding: "utf8",
    });
    expect(status).toBe(1);
    expect(stderr.trimEnd().split("\n")).toEqual([
      expect.stringContaining("npm does not reach its registry http://127.0.0.1:1/"),
    ]);
  });

  it("make run mends an installation that was killed, and serves the console", async () => {
    await killInstallation(copy, env);
    expect(existsSync(join(copy, "node_modules/.installed"))).toBe(false);

    const [httpPort, grpcPort] = [await freePort(), await freePort()];
    const ports = { DEVICE_OTA_HTTP_PORT: `${httpPort}`, DEVICE_OTA_GRPC_PORT: `${grpcPort}` };
    const run = start("make", ["run"], copy, { ...env, ...ports });
    try {
      const page = await answer(`http://127.0.0.1:${httpPort}/`, run);
      expect(page).toContain("<script");
    } finally {
      await stop(run.child);
    }
    expect(existsSync(join(copy, "data/postgres/cluster/PG_VERSION"))).toBe(true);
  });

  it("serves the console from a package that npm installed", async () => {
    const user = join(folder, "user of the package");
    mkdirSync(user);
    writeFileSync(join(user, "package.json"), "{}");
    // The console is the one that `make run` has built here.
    execFileSync("npm", ["run", "build:command-line"], { cwd: copy, env });
    const pack = ["pack", "--ignore-scripts", "--silent", "--pack-destination", user];
    const tarball = execFileSync("npm", pack, { cwd: copy, env, encoding: "utf8" }).trim();
    const flags = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
    execFileSync("npm", ["install", ...flags, `./${tarball}`], { cwd: user, env });

    const httpPort = await freePort();
    const args = ["serve", "--http-port", `${httpPort}`, "--grpc-port", `${await freePort()}`];
    const run = start("node_modules/.bin/device-ota", args, user, env);
    try {
      expect(await answer(`http://127.0.0.1:${httpPort}/`, run)).toContain("<script");
    } finally {
      await stop(run.child);
    }
  });

  it("leaves nothing out, and runs npm scripts on Node.js 24", () => {
    const inScript = (command: string): string =>
      execFileSync("npm", ["exec", "--offline", "--call", command], {
        cwd: copy,
        env,
        encoding: "utf8",
      }).trim();
    expect(inScript("node --version")).toMatch(/^v24\./);
    expect(inScript("node scripts/missing-packages.ts")).toBe("");
    expect(inScript("oxlint --version")).toContain("Version");
  });
});

/** The environment of a login: nothing of the npm script that runs this test, but the way to the registry. */
function machine(bin: string | undefined): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(
    ([name]) => !/^npm_|^NODE(_ENV|_OPTIONS|_PATH)?$|^VITEST|^CI$|^INIT_CWD$|^MAKE|^DEVICE_OTA/.test(name),
  );
  const path = (process.env["PATH"] ?? "").split(":").filter((part) => !part.includes("node_modules"));
  const registry = ["npm_config_registry", "npm_config_cafile", "npm_config_cache"].flatMap((name) =>
    process.env[name] === undefined ? [] : [[name, process.env[name]] as const],
  );
  return {
    ...Object.fromEntries([...kept, ...registry]),
    PATH: (bin === undefined ? path : [bin, ...path]).join(":"),
  };
}

/** As a clone would have it: without what is built, installed or stored here. */
function copyTree(to: string): void {
  const left = [".git", "node_modules", "dist", "data", "coverage", ".test-results"];
  const excluded = left.map((name) => `--exclude=./${name}`).join(" ");
  execFileSync("sh", ["-c", `tar -c ${excluded} . | tar -x -C "$1"`, "sh", to], { cwd: tree });
}

/** Kills an installation in the middle, with all its processes, as a crash of the machine does. */
async function killInstallation(cwd: string, env: NodeJS.ProcessEnv): Promise<void> {
  const { child, output } = start("make", ["install"], cwd, env);
  const packages = (): number =>
    existsSync(join(cwd, "node_modules")) ? readdirSync(join(cwd, "node_modules")).length : 0;
  while (packages() < 50) {
    expect(child.exitCode, output()).toBe(null);
    await delay(20);
  }
  process.kill(-(child.pid as number), "SIGKILL");
  await once(child, "exit");
}

interface Run {
  readonly child: ChildProcess;
  readonly output: () => string;
}

/** Starts a command in a process group of its own. */
function start(command: string, args: readonly string[], cwd: string, env: NodeJS.ProcessEnv): Run {
  const child = spawn(command, args, { cwd, env, detached: true, stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding("utf8").on("data", (text: string) => {
      said = (said + text).slice(-10_000);
    });
  return { child, output: () => said };
}

/** Asks until the service answers well, or its command has ended. */
async function answer(url: string, { child, output }: Run): Promise<string> {
  for (;;) {
    expect(child.exitCode, output()).toBe(null);
    const response = await fetch(url).catch(() => undefined);
    if (response?.ok === true) return await response.text();
    await delay(200);
  }
}

/** As Ctrl-C at a terminal: every process of the group hears it. */
async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return;
  const ended = once(child, "close");
  process.kill(-(child.pid as number), "SIGINT");
  await ended;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, "close");
  return port;
}
