import { mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, vi } from "vitest";
import { Role } from "../../gen/ota/v1/access_pb.js";
import { AccessService } from "../../gen/ota/v1/access_service_pb.js";
import { withDatabase } from "../support/global-setup.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { runCli } from "../support/run-cli.ts";
import { startTestService } from "../support/service.ts";

// Every step is a process that loads the command line: some 0.3 s, but several on a machine that is busy.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

it("lets in whoever has the database, also beside a service that runs on it, and the audit log tells", async () => {
  await using cleanup = new AsyncDisposableStack();
  const cwd = await mkdtemp(join(tmpdir(), "device-ota-cli-"));
  cleanup.defer(() => rm(cwd, { recursive: true, force: true }));
  const database = cleanup.use(await createTestDatabase({ partitioned: true }));
  const service = cleanup.use(await startTestService({ databaseUrl: database.serviceUrl }));

  const env = { DEVICE_OTA_DATABASE_URL: database.serviceUrl };
  const { exitCode, stdout } = await runCli(["--json", "token", "reset"], { cwd, env });
  const { secret, file } = JSON.parse(stdout) as { secret: string; file: string };
  expect([exitCode, file]).toEqual([0, join("data", "admin-token")]);
  expect((await readFile(join(cwd, file), "utf8")).trim()).toBe(secret);
  expect((await stat(join(cwd, file))).mode & 0o077).toBe(0);

  const rpc = service.client(secret);
  expect(await rpc.unary(AccessService.method.whoAmI, {})).toMatchObject({ role: Role.ADMIN });
  const { events } = await rpc.unary(AccessService.method.listAuditEvents, { actor: "system:token-reset" });
  expect(events).toMatchObject([{ action: "token.create", details: { role: "admin" } }]);
  // The one of the first start goes on.
  expect(await service.client().unary(AccessService.method.whoAmI, {})).toMatchObject({ role: Role.ADMIN });
});

it("does nothing to a database without the schema", async () => {
  const cwd = await mkdtemp(join(tmpdir(), "device-ota-cli-"));
  await using _ = { [Symbol.asyncDispose]: () => rm(cwd, { recursive: true, force: true }) };
  await using database = await createTestDatabase();
  const { exitCode, stderr } = await runCli(["token", "reset"], {
    cwd,
    env: { DEVICE_OTA_DATABASE_URL: withDatabase(database.url, "postgres") },
  });
  expect([exitCode, stderr]).toEqual([5, expect.stringContaining("migrate up")]);
});
