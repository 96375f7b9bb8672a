import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { startCli } from "../support/run-cli.ts";

it("shows the first secrets by the start that opens the doors, after others failed", async () => {
  await using cleanup = new AsyncDisposableStack();
  const cwd = await mkdtemp(join(tmpdir(), "device-ota-first-"));
  cleanup.defer(() => rm(cwd, { recursive: true, force: true }));
  const { url } = cleanup.use(await createTestDatabase());
  const env = { DEVICE_OTA_DATABASE_URL: url };
  const other = cleanup.use(createServer().listen(0, "127.0.0.1"));
  await once(other, "listening");
  const { port } = other.address() as AddressInfo;

  const failed = await startCli(["serve", "--grpc-port", "0", "--http-port", `${port}`], { cwd, env }).result;
  expect(failed.exitCode).not.toBe(0);
  expect(failed.stderr).not.toContain("admin token");

  const run = startCli(["serve", "--grpc-port", "0", "--http-port", "0"], { cwd, env });
  cleanup.defer(async () => {
    run.child.kill("SIGTERM");
    expect((await run.result).exitCode).toBe(0);
  });
  const { token, httpUrl } = await eventually(() => {
    const shown = /admin token +(\S+)\n[^]*REST, Connect +(http:\S+)/.exec(run.output.stderr);
    if (shown === null) throw new Error(`it is not up: ${run.output.stderr}`);
    return { token: shown[1] ?? "", httpUrl: shown[2] };
  });
  expect((await readFile(join(cwd, "data/admin-token"), "utf8")).trim()).toBe(token);
  const answer = await fetch(`${httpUrl}/api/v1/access/whoami`, {
    headers: { authorization: `Bearer ${token}` },
  });
  expect(await answer.json()).toMatchObject({ role: "ROLE_ADMIN" });
});
