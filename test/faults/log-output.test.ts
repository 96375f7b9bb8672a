import { mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { type CliRun, startCli } from "../support/run-cli.ts";

const adminToken = "test-admin-token-0123456789";

/** With a line each these are more than a pipe holds. */
const calls = 600;

describe("a service whose log cannot be written", () => {
  it("because its disk is full goes on, and ends in order", async () => {
    await using full = await open("/dev/full", "w");
    await using service = await start({ stdout: full.fd });
    await service.answer(calls);
    expect(await service.end("SIGTERM")).toBe(0);
  });

  it("because nobody reads it goes on, and ends in order", async () => {
    await using service = await start({ stdout: "unread" });
    await service.answer(calls);
    expect(await service.end("SIGTERM")).toBe(0);
  });

  it("because its terminal is gone ends in order, and goes on until it hears of that", async () => {
    await using service = await start({});
    service.run.child.stdout?.destroy();
    service.run.child.stderr?.destroy();
    await service.answer(calls);
    expect(await service.end("SIGHUP")).toBe(0);
  });
});

async function start(options: { readonly stdout?: number | "unread" }) {
  await using opened = new AsyncDisposableStack();
  const cwd = await mkdtemp(join(tmpdir(), "device-ota-log-"));
  opened.defer(() => rm(cwd, { recursive: true, force: true }));
  const { url: databaseUrl } = opened.use(await createTestDatabase());
  const run: CliRun = startCli(["serve", "--http-port", "0", "--grpc-port", "0"], {
    cwd,
    env: {
      DEVICE_OTA_DATABASE_URL: databaseUrl,
      DEVICE_OTA_ADMIN_TOKEN: adminToken,
      DEVICE_OTA_LOG_LEVEL: "debug",
      DEVICE_OTA_RATE_LIMIT_API: "off",
    },
    ...options,
  });
  const end = async (signal: NodeJS.Signals) => {
    run.child.kill(signal);
    return (await run.result).exitCode;
  };
  opened.defer(async () => void (await end("SIGKILL")));
  const url = await eventually(() => {
    const found = /(http:\/\/\S+:\d+)/.exec(run.output.stderr)?.[1];
    if (found === undefined) throw new Error(`it is not up: ${run.output.stderr}`);
    return found;
  });
  const resources = opened.move();
  return {
    run,
    end,
    /** Calls so often, one after the other. */
    answer: async (times: number) => {
      for (let time = 0; time < times; time++) {
        const { status } = await fetch(`${url}/api/v1/access/whoami`, {
          headers: { authorization: `Bearer ${adminToken}` },
        });
        expect(status).toBe(200);
      }
    },
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}
