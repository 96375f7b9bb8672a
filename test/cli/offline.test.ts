import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { parseManifest } from "../../src/manifest/manifest.ts";
import { thumbprint, verifySignature } from "../../src/manifest/signature.ts";
import { type CliResult, runCli } from "../support/run-cli.ts";

// Every step is a process that loads the command line: some 0.3 s, but several on a machine that is busy.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

/** The commands that need no service. */

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "device-ota-cli-"));
});

afterAll(() => rm(folder, { recursive: true, force: true }));

function run(...args: string[]): Promise<CliResult> {
  return runCli(args, { cwd: folder });
}

describe("help and usage", () => {
  it("explains itself and exits with 0", async () => {
    const { exitCode, stdout } = await run("--help");
    expect(exitCode).toBe(0);
    for (const command of ["serve", "demo", "simulate", "agent", "firmware", "rollout"])
      expect(stdout).toContain(command);
  });

  it("says its version", async () => {
    expect(await run("--version")).toMatchObject({
      exitCode: 0,
      stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/),
    });
  });

  it("exits with 2 on a wrong command line and suggests what was meant", async () => {
    const result = await run("rollout", "stats");
    expect(result).toMatchObject({ exitCode: 2, stdout: "" });
    expect(result.stderr).toContain("Did you mean");
  });

  it("exits with 6 and one clear line when no service is there", async () => {
    const result = await run("device", "list", "--server", "127.0.0.1:1");
    expect(result.exitCode).toBe(6);
    expect(result.stderr.split("\n")[0]).toBe(
      "device-ota: cannot reach the service: connect ECONNREFUSED 127.0.0.1:1 (UNAVAILABLE)",
    );
  });

  it("writes the failure as JSON for scripts", async () => {
    const result = await run("device", "list", "--server", "127.0.0.1:1", "--json");
    expect(JSON.parse(result.stderr)).toMatchObject({ error: { exitCode: 6, reason: "UNAVAILABLE" } });
  });
});

describe("firmware keygen and sign", () => {
  it("signs a file so that the public key verifies the manifest's exact bytes", async () => {
    await writeFile(join(folder, "app.bin"), "content");
    const keygen = await run("firmware", "keygen", "--out", "release", "--json");
    expect(keygen.exitCode).toBe(0);
    const { keyId } = JSON.parse(keygen.stdout) as { keyId: string };
    const publicKeyPem = await readFile(join(folder, "release.pub.pem"), "utf8");
    expect(thumbprint(publicKeyPem)).toBe(keyId);
    expect((await stat(join(folder, "release.key.pem"))).mode & 0o777).toBe(0o600);

    const metadata = ["--product", "app", "--version", "1.2.3", "--device-type", "thermostat,gateway"];
    const sign = await run(
      "firmware",
      "sign",
      "app.bin",
      "--key",
      "release.key.pem",
      ...metadata,
      "--downgrade-from",
      "1.3.0",
      "--expires",
      "90d",
    );
    expect(sign).toMatchObject({ exitCode: 0, stderr: "" });
    const bytes = await readFile(join(folder, "manifest.json"));
    const signature = await readFile(join(folder, "manifest.sig"));
    expect(verifySignature({ publicKeyPem, bytes, signature })).toBe(true);
    expect(parseManifest(bytes)).toMatchObject({
      product: "app",
      version: "1.2.3",
      downgradeFrom: "1.3.0",
      deviceTypes: ["thermostat", "gateway"],
      sizeBytes: 7,
    });
  });

  it("does not overwrite a key", async () => {
    await run("firmware", "keygen", "--out", "once");
    const before = await readFile(join(folder, "once.key.pem"), "utf8");
    const again = await run("firmware", "keygen", "--out", "once");
    expect(again.exitCode).toBe(5);
    expect(await readFile(join(folder, "once.key.pem"), "utf8")).toBe(before);
  });

  it.each([
    ["a missing file", ["firmware", "sign", "nowhere.bin", "--key", "release.key.pem"]],
    [
      "a version that is not semantic",
      [
        "firmware",
        "sign",
        "app.bin",
        "--key",
        "release.key.pem",
        "--product",
        "a",
        "--version",
        "1.2",
        "--device-type",
        "t",
      ],
    ],
  ])("exits with 2 on %s", async (_what, args) => {
    await writeFile(join(folder, "app.bin"), "content");
    await run("firmware", "keygen", "--out", "release");
    expect((await run(...args)).exitCode).toBe(2);
  });
});
