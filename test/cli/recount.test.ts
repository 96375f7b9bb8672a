import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, vi } from "vitest";
import { execute } from "../support/global-setup.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { runCli } from "../support/run-cli.ts";

// Every step is a process that loads the command line: some 0.3 s, but several on a machine that is busy.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

it("says which counters are wrong, and sets them right", async () => {
  await using cleanup = new AsyncDisposableStack();
  const cwd = await mkdtemp(join(tmpdir(), "device-ota-cli-"));
  cleanup.defer(() => rm(cwd, { recursive: true, force: true }));
  const { url } = cleanup.use(await createTestDatabase());
  const recount = (...args: string[]) =>
    runCli(["recount", ...args], { cwd, env: { DEVICE_OTA_DATABASE_URL: url, DEVICE_OTA_TOKEN: "unused" } });
  const id = "00000000-0000-7000-8000-000000000001";
  await execute(
    url,
    `INSERT INTO firmware_updates (id, product, version, state, device_types, sha256, size_bytes, kind, component)
       VALUES ('${id}', 'os', '1.1.0', 'RELEASED', '{t}', 'x', 1, 'FIRMWARE', '');
     INSERT INTO rollouts (id, name, firmware_id, state, targeting, policy, creator, rollback_total)
       VALUES ('${id}', 'r', '${id}', 'RUNNING', '{}', '{}', 'operator:test', 4)`,
  );

  const found = await recount();
  expect(found).toMatchObject({ exitCode: 5, stderr: expect.stringContaining("--repair") });
  expect(found.stdout).toMatch(new RegExp(`${id} .*rollback_total +4 +0`));
  expect(await recount("--repair")).toMatchObject({
    exitCode: 0,
    stdout: expect.stringContaining("1 wrong counter"),
  });
  expect(await recount()).toMatchObject({ exitCode: 0, stdout: expect.stringContaining("Every counter") });
});
