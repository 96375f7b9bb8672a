import { execFile, execFileSync } from "node:child_process";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { firstStart } from "./first-start.ts";
import { readMarkdown, root, walkThrough } from "./readme.ts";

const run = promisify(execFile);

/** A dozen starts of the command line, and a fresh database. */
const deadlineMs = 120_000;

it.skipIf(!hasCurl())(
  "the walk-through of the README works as it stands",
  async () => {
    const blocks = walkThrough(await readMarkdown("README.md"));
    expect(blocks).toHaveLength(4);
    await using service = await firstStart();
    await using cleanup = new AsyncDisposableStack();
    const folder = await mkdtemp(join(tmpdir(), "device-ota-readme-"));
    cleanup.defer(() => rm(folder, { recursive: true, force: true }));

    const script = join(folder, "walk-through.sh");
    await writeFile(script, blocks.join("\n"));
    const { stdout } = await run("bash", ["-euo", "pipefail", script], {
      cwd: folder,
      timeout: deadlineMs,
      env: {
        PATH: `${await commandFolder(cleanup)}:${join(root, "node_modules/.bin")}:${process.env["PATH"]}`,
        HOME: folder,
        DEVICE_OTA_SERVER: service.grpcAddress,
        DEVICE_OTA_TOKEN: service.adminToken,
        ENROLMENT_KEY: service.enrolmentKey,
        SERVICE: service.httpUrl,
      },
    });

    expect(stdout).toContain("update.bin: OK");
    expect(stdout).toContain('"releaseNotes":"Saves power."');
    expect(stdout).toContain('"ackedThrough":"3"');
    expect(stdout).toContain('"status":"alive"');
    // The last command's answer: where its heartbeats brought the device.
    expect(stdout.slice(stdout.lastIndexOf("alive"))).toMatch(/ install +succeeded .* 1\.0\.0 +1\.1\.0 /);
  },
  deadlineMs + 30_000,
);

/** A folder with `device-ota`, as the alias of the README makes it. */
async function commandFolder(cleanup: AsyncDisposableStack): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "device-ota-bin-"));
  cleanup.defer(() => rm(folder, { recursive: true, force: true }));
  const command = join(folder, "device-ota");
  const [node, main] = [join(root, "node_modules/.bin/node"), join(root, "src/main.ts")];
  await writeFile(command, `#!/bin/sh\nexec "${node}" "${main}" "$@"\n`);
  await chmod(command, 0o755);
  return folder;
}

function hasCurl(): boolean {
  try {
    execFileSync("curl", ["--version"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}
