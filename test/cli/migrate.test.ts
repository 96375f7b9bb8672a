import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, vi } from "vitest";
import { createTestDatabase } from "../support/postgres.ts";
import { runCli } from "../support/run-cli.ts";

// Every step is a process that loads the command line: some 0.3 s, but several on a machine that is busy.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

it("takes the schema back and brings it up again, and says what is missing", async () => {
  await using cleanup = new AsyncDisposableStack();
  const cwd = await mkdtemp(join(tmpdir(), "device-ota-cli-"));
  cleanup.defer(() => rm(cwd, { recursive: true, force: true }));
  const database = cleanup.use(await createTestDatabase());
  const migrate = (...args: string[]) =>
    runCli(["migrate", ...args], {
      cwd,
      env: { DEVICE_OTA_DATABASE_URL: database.url, DEVICE_OTA_TOKEN: "unused" },
    });

  expect(await migrate("status")).toMatchObject({
    exitCode: 0,
    stdout: expect.stringContaining("nothing to do"),
  });
  expect(await migrate("down", "--all")).toMatchObject({
    exitCode: 2,
    stderr: expect.stringContaining("--yes"),
  });
  expect(await migrate("down", "--all", "--yes")).toMatchObject({
    exitCode: 0,
    stdout: expect.stringContaining("0001-initial-schema"),
  });
  const status = await migrate("status", "--json");
  expect(status.exitCode).toBe(5);
  expect(JSON.parse(status.stdout)).toEqual({ pending: expect.arrayContaining(["0001-initial-schema"]) });
  expect(await migrate("up")).toMatchObject({ exitCode: 0 });
  expect(await migrate("status")).toMatchObject({ exitCode: 0 });
});
