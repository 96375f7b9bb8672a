import { mkdtempDisposable, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { CommandInstaller } from "./command-installer.ts";

const { signal } = new AbortController();

test("runs the operator's command with the facts in its environment, and reads the version that runs", async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), "device-ota-installer-"));
  const versionFile = join(folder.path, "version");
  await writeFile(versionFile, "1.0.0\n");
  const installer = new CommandInstaller({
    installCommand: `echo "$OTA_VERSION $OTA_ACTION $OTA_FILE" > ${folder.path}/said`,
    rebootCommand: `echo "$OTA_VERSION" > ${versionFile}`,
    versionFile,
    rebootTimeoutMs: 1,
  });
  expect(await installer.running()).toEqual({ version: "1.0.0" });
  await installer.install(imageOf("1.1.0"), signal);
  expect(await readFile(join(folder.path, "said"), "utf8")).toBe("1.1.0 install /tmp/image\n");
  await installer.reboot(imageOf("1.1.0"), signal);
  expect(await installer.running()).toEqual({ version: "1.1.0" });
});

test("a command that fails is INSTALL_FAILED with what it said", async () => {
  const installer = installerOf("echo no space on slot B >&2; exit 3");
  await expect(installer.install(imageOf("1.1.0"), signal)).rejects.toMatchObject({
    reason: "INSTALL_FAILED",
    message: "the command ended with 3: no space on slot B",
  });
});

test("a command that hangs is ended with all that it started", async () => {
  const installer = installerOf("echo stuck >&2; sleep 3600 & wait", 200);
  await expect(installer.install(imageOf("1.1.0"), signal)).rejects.toMatchObject({
    message: "the command took too long: stuck",
  });
});

function installerOf(installCommand: string, installTimeoutMs = 10_000): CommandInstaller {
  return new CommandInstaller({
    installCommand,
    rebootCommand: "true",
    versionFile: "/none",
    installTimeoutMs,
  });
}

function imageOf(version: string) {
  return {
    updateId: "u",
    path: "/tmp/image",
    version,
    sha256: "00",
    sizeBytes: 1,
    rollback: false,
    component: "",
  };
}
