import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { runCli, startCli } from "../support/run-cli.ts";

/** A fleet large enough for its rings, and small enough to be quick. */
const devices = "50";

it("tells the true story: every claim holds, and nothing is left behind", async () => {
  await using cleanup = new AsyncDisposableStack();
  const cwd = await mkdtemp(join(tmpdir(), "device-ota-cli-"));
  cleanup.defer(() => rm(cwd, { recursive: true, force: true }));

  const { exitCode, stdout, stderr } = await runCli(["demo", "--devices", devices, "--json"], {
    cwd,
    env: { TMPDIR: cwd, DEVICE_OTA_DATABASE_URL: "postgresql://a-service-of-the-user.invalid/x" },
  });

  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: expect.stringContaining("rolled back") });
  const { ok, checks } = JSON.parse(stdout) as { ok: boolean; checks: { ok: boolean }[] };
  expect(ok).toBe(true);
  expect(checks).toHaveLength(13);
  expect(await readdir(cwd)).toEqual([]);
});

it("cleans up when it is interrupted", async () => {
  await using cleanup = new AsyncDisposableStack();
  const cwd = await mkdtemp(join(tmpdir(), "device-ota-cli-"));
  cleanup.defer(() => rm(cwd, { recursive: true, force: true }));

  const demo = startCli(["demo", "--devices", devices], { cwd, env: { TMPDIR: cwd } });
  cleanup.defer(() => void demo.child.kill("SIGKILL"));
  await eventually(() => expect(demo.output.stdout).toContain("Enrolling"), 60_000);
  demo.child.kill("SIGINT");

  expect((await demo.result).exitCode).toBe(130);
  expect(await readdir(cwd)).toEqual([]);
});
