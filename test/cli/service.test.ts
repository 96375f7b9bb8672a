import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { Presence } from "../../gen/ota/v1/device_pb.js";
import { DeviceService } from "../../gen/ota/v1/device_service_pb.js";
import { RpcClient } from "../../src/client/rpc-client.ts";
import { eventually } from "../support/eventually.ts";
import { createTestDatabase, type TestDatabase } from "../support/postgres.ts";
import { type CliResult, type CliRun, runCli, startCli } from "../support/run-cli.ts";

// Every step is a process that loads the command line: some 0.3 s, but ten on a machine that is busy.
vi.setConfig({ testTimeout: 300_000, hookTimeout: 300_000 });

/**
 * The real command line against the real service, both as processes of their own, as a newcomer uses them: no token is
 * passed, because `serve` left one in the data folder.
 */

let folder: string;
let database: TestDatabase;
let service: CliRun;
let address: string;
/** For waits: a process for each look would cost more than what is waited for. */
let rpc: RpcClient;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "device-ota-cli-"));
  database = await createTestDatabase({ partitioned: true });
  service = startCli(["serve", "--http-port", "0", "--grpc-port", "0"], {
    cwd: folder,
    env: { DEVICE_OTA_DATABASE_URL: database.url, DEVICE_OTA_LOG_LEVEL: "warn" },
  });
  address = await eventually(() => {
    const found = /gRPC +(\S+:\d+)/.exec(service.output.stderr)?.[1];
    if (found === undefined) throw new Error(`the service is not up: ${service.output.stderr}`);
    return found;
  });
  const token = (await readFile(join(folder, "data", "admin-token"), "utf8")).trim();
  rpc = new RpcClient({ address, token });
});

afterAll(async () => {
  rpc[Symbol.dispose]();
  service.child.kill("SIGKILL");
  await service.result;
  await database[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

function run(...args: string[]): Promise<CliResult> {
  return runCli(args, { cwd: folder, env: { DEVICE_OTA_SERVER: address } });
}

/** Runs with `--json`, expects success and returns the answer. */
async function ask(...args: string[]): Promise<Record<string, unknown>> {
  const { exitCode, stdout, stderr } = await run(...args, "--json");
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
  return JSON.parse(stdout) as Record<string, unknown>;
}

describe("serve", () => {
  it("shows what runs where and the first credentials once", () => {
    const { stderr } = service.output;
    expect(stderr).toMatch(/REST, Connect +http:\/\/127\.0\.0\.1:\d+/);
    expect(stderr).toMatch(/admin token +ota_op_/);
    expect(stderr).toMatch(/enrolment key +ota_enrol_/);
  });

  it("leaves the token in the data folder, for its user alone", async () => {
    const file = join(folder, "data", "admin-token");
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect((await readFile(file, "utf8")).trim()).toMatch(/^ota_op_[\w-]{43}$/);
  });
});

describe("a newcomer's way from a file to a rollout", () => {
  const content = randomBytes(600_000);

  beforeAll(async () => {
    await writeFile(join(folder, "app.bin"), content);
    await ask("firmware", "keygen", "--out", "release");
    await ask("signing-key", "register", "--name", "release", "release.pub.pem");
  });

  it("publishes in one go, shows it, and resolves product@version", async () => {
    const metadata = ["--product", "app", "--version", "1.1.0", "--device-type", "thermostat"];
    const published = await ask("firmware", "publish", "app.bin", ...metadata, "--key", "release.key.pem");
    expect(published).toMatchObject({ state: "FIRMWARE_STATE_RELEASED", sizeBytes: "600000" });
    expect(await ask("firmware", "show", "app@1.1.0")).toMatchObject({ id: published["id"] });
    const list = await run("firmware", "list", "--product", "app");
    expect(list.stdout).toMatch(/^ID +PRODUCT +VERSION/);
    expect(list.stdout).toMatch(/app +1\.1\.0 +released/);
  });

  it("creates, uploads, signs elsewhere and submits, step by step", async () => {
    const metadata = ["--product", "app", "--version", "1.2.0", "--device-type", "thermostat"];
    expect(await ask("firmware", "create", "app.bin", ...metadata)).toMatchObject({ version: "1.2.0" });
    expect(await ask("firmware", "upload", "app@1.2.0", "app.bin")).toMatchObject({
      state: "FIRMWARE_STATE_UPLOADED",
    });
    const { stdout: manifest } = await run("firmware", "manifest", "app@1.2.0");
    await writeFile(join(folder, "to-sign.json"), manifest);
    const signed = await ask("firmware", "sign", "--manifest", "to-sign.json", "--key", "release.key.pem");
    expect(signed["keyId"]).toMatch(/^[\w-]{43}$/);
    const released = await ask("firmware", "submit", "app@1.2.0");
    expect(released).toMatchObject({ state: "FIRMWARE_STATE_RELEASED" });
    const again = await run("firmware", "release", "app@1.2.0");
    expect(again).toMatchObject({
      exitCode: 0,
      stderr: expect.stringContaining("Nothing changed: it was released already."),
    });
  });

  it("takes a signed manifest as the record of a new version", async () => {
    const metadata = ["--product", "app", "--version", "1.4.0", "--device-type", "thermostat", "--out", "."];
    await ask(
      "firmware",
      "sign",
      "app.bin",
      "--key",
      "release.key.pem",
      ...metadata,
      "--security-counter",
      "2",
    );
    const created = await ask("firmware", "create", "--manifest", "manifest.json", "--min-battery", "30");
    expect(created).toMatchObject({ version: "1.4.0", securityCounter: "2", minBatteryPercent: 30 });
    await ask("firmware", "upload", "app@1.4.0", "app.bin");
    expect(await ask("firmware", "submit", "app@1.4.0")).toMatchObject({ state: "FIRMWARE_STATE_RELEASED" });
  });

  it("refuses another file than the declared one before it sends a byte", async () => {
    const metadata = ["--product", "app", "--version", "1.3.0", "--device-type", "thermostat"];
    await ask("firmware", "create", "app.bin", ...metadata);
    await writeFile(join(folder, "other.bin"), "something else");
    const result = await run("firmware", "upload", "app@1.3.0", "other.bin");
    expect(result).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining("is not the content that was declared"),
    });
  });

  it("deploys, pauses, refuses what the state does not allow, and rolls back", async () => {
    const deployed = await ask("firmware", "deploy", "app@1.1.0", "--failure-threshold", "20");
    expect(deployed).toMatchObject({
      state: "ROLLOUT_STATE_RUNNING",
      policy: { failureThresholdPercent: 20 },
    });
    expect(await ask("rollout", "pause", "latest", "--reason", "test")).toMatchObject({
      state: "ROLLOUT_STATE_PAUSED",
    });
    const repeated = await run("rollout", "pause", "latest");
    expect(repeated).toMatchObject({
      exitCode: 0,
      stderr: expect.stringContaining("Nothing changed: the rollout is paused (test)"),
    });
    const again = await run("rollout", "start", "latest");
    expect(again.exitCode).toBe(5);
    expect(again.stderr).toMatch(/^device-ota: .*PAUSED.*\(ILLEGAL_TRANSITION/i);
    const status = await run("rollout", "status", "latest");
    expect(status.stdout).toMatch(/canary +5 % +(?:-|\d+) +(?:-|\d+) +open/);
    const nobody = await run("rollout", "rollback", "latest");
    expect(nobody.exitCode).toBe(5);
    expect(nobody.stderr).toMatch(/no device of the rollout has begun to install .*\(NOTHING_TO_DO/);
    expect(await ask("rollout", "abort", "latest")).toMatchObject({
      id: deployed["id"],
      effect: { unchanged: false, message: "The rollout is aborted." },
    });
    const { events } = await ask("audit", "list", "--resource", String(deployed["id"]));
    expect(events).toContainEqual(expect.objectContaining({ action: "rollout.pause", reason: "test" }));
  });
});

describe("devices", () => {
  it("shows simulated devices that joined, and lets one be retired", async () => {
    const fleet = startCli(
      ["simulate", "--count", "3", "--heartbeat-interval", "200ms", "--model", "thermostat:tx-200", "--json"],
      { cwd: folder, env: { DEVICE_OTA_SERVER: address } },
    );
    await eventually(async () => {
      const overview = await rpc.unary(DeviceService.method.getDeviceStatusOverview, {});
      expect(overview).toMatchObject({ totalCount: 3n, onlineCount: 3n });
    });
    expect(await ask("fleet", "status")).toMatchObject({ totalCount: "3", onlineCount: "3" });
    const { devices } = (await ask("device", "list")) as { devices: { id: string; serialNumber: string }[] };
    expect(devices).toHaveLength(3);
    const serial = devices[0]?.serialNumber ?? "";
    const shown = await run("device", "show", serial);
    expect(shown.stdout).toMatch(/presence +online/);
    expect(shown.stdout).toMatch(/expected +every /);
    const beats = await ask("heartbeat", "list", serial, "--since", "1h", "--limit", "1");
    expect(beats["heartbeats"]).toHaveLength(1);
    const series = await ask(
      "device",
      "series",
      serial,
      "--metric",
      "battery_percent,metrics.none",
      "--since",
      "10m",
    );
    expect(series["series"]).toMatchObject([
      { metric: "battery_percent", unit: "%", points: expect.arrayContaining([expect.anything()]) },
      { metric: "metrics.none", points: [] },
    ]);
    const table = await run(
      "device",
      "series",
      serial,
      "--metric",
      "battery_percent",
      "--metric",
      "metrics.none",
    );
    expect(table.stdout).toMatch(/^battery_percent in %, 30 min each\nTIME +MIN +MEAN +MAX +LAST +COUNT\n/);
    expect(table.stdout).toContain("metrics.none: nothing was measured.");
    const csv = await run(
      "device",
      "export",
      serial,
      "--format",
      "csv",
      "--fields",
      "sequence,battery_percent",
    );
    expect(csv.stdout).toMatch(/^[\w,]*sequence,battery_percent\r\n[^\n]*,1,\d+(?:\.\d+)?\r\n/);
    const lines = (await run("device", "export", serial, "--since", "1h")).stdout.trimEnd().split("\n");
    expect(JSON.parse(lines[0] ?? "")).toMatchObject({ heartbeat: { sequence: "1" } });
    expect(lines.length).toBeGreaterThan(1);
    const refused = await run("device", "series", serial, "--metric", "nothing");
    expect(refused).toMatchObject({ exitCode: 2, stderr: expect.stringContaining('"nothing" is no metric') });
    fleet.child.kill("SIGINT");
    expect((await fleet.result).exitCode).toBe(0);
    const model = "NVIDIA Jetson AGX Orin (64GB), rev: b";
    expect(
      await ask(
        "device",
        "correct",
        serial,
        "--model",
        model,
        "--device-type",
        "edge box",
        "--product",
        "jetson-os",
      ),
    ).toMatchObject({ hardwareModel: model, deviceType: "edge box", product: "jetson-os" });
    const typed = await ask("device", "list", "--model", model.replace(",", String.raw`\,`));
    expect(typed["devices"]).toMatchObject([{ serialNumber: serial }]);
    expect((await run("device", "correct", serial)).exitCode).toBe(2);

    expect(await ask("device", "retire", serial)).toMatchObject({
      serialNumber: serial,
      retireTime: expect.any(String),
    });
    // The overview is counted about once a second.
    await eventually(async () => {
      const { totalCount } = await rpc.unary(DeviceService.method.getDeviceStatusOverview, {});
      expect(totalCount).toBe(2n);
    });
    expect(await ask("fleet", "status")).toMatchObject({ totalCount: "2" });
  });
});

describe("the agent", () => {
  it("makes this machine a device, and ends in order", async () => {
    await writeFile(join(folder, "version"), "3.2.1\n");
    await ask("firmware", "keygen", "--out", "trusted");
    const enrolmentKey = /enrolment key +(\S+)/.exec(service.output.stderr)?.[1] ?? "";
    const agent = startCli(
      ["agent", "--device-type", "gateway", "--model", "gw-1", "--serial", "this-machine"].concat([
        "--trusted-key",
        "trusted.pub.pem",
        "--version-file",
        "version",
        "--install-command",
        "false",
      ]),
      { cwd: folder, env: { DEVICE_OTA_SERVER: address, DEVICE_OTA_ENROLMENT_KEY: enrolmentKey } },
    );
    const filter = 'serial_number = "this-machine"';
    await eventually(async () => {
      const { devices } = await rpc.unary(DeviceService.method.listDevices, { filter });
      expect(devices).toMatchObject([{ presence: Presence.ONLINE, lastHeartbeat: expect.anything() }]);
    });
    expect(await ask("device", "show", "this-machine")).toMatchObject({
      firmwareVersion: "3.2.1",
      presence: "PRESENCE_ONLINE",
      lastHeartbeat: { bootId: expect.any(String), memoryPercent: expect.any(Number) },
    });
    agent.child.kill("SIGTERM");
    expect((await agent.result).exitCode).toBe(0);
    expect((await stat(join(folder, "device", "state.json"))).mode & 0o777).toBe(0o600);
  });
});

describe("access and exit codes", () => {
  it("gives a viewer what a viewer may", async () => {
    const { secret, token } = (await ask("token", "create", "--name", "reader")) as {
      secret: string;
      token: { id: string };
    };
    const asReader = ["--token", secret];
    expect((await run("device", "list", ...asReader)).exitCode).toBe(0);
    const denied = await run("token", "list", ...asReader);
    expect(denied).toMatchObject({ exitCode: 4, stderr: expect.stringContaining("ROLE_REQUIRED") });
    await ask("token", "revoke", token.id);
    const revoked = await run("device", "list", ...asReader);
    expect(revoked).toMatchObject({ exitCode: 4, stderr: expect.stringContaining("CREDENTIAL_REVOKED") });
  });

  it.each([
    ["nothing of this id", 3, ["rollout", "status", "0199aaaa-0000-7000-8000-000000000000"]],
    ["nothing of this name", 3, ["firmware", "show", "nothing@1.0.0"]],
    ["a wrong token", 4, ["device", "list", "--token", "ota_op_wrong"]],
    ["a name that is no reference", 2, ["firmware", "show", "what"]],
    ["a field that the service refuses", 2, ["token", "create", "--name", "x".repeat(65)]],
  ])("exits for %s with %i", async (_what, exitCode, args) => {
    const result = await run(...args);
    expect(result).toMatchObject({ exitCode, stdout: "" });
    expect(result.stderr).toMatch(/^device-ota: /);
  });

  it("names the field and the request in an error", async () => {
    const { stderr } = await run("token", "create", "--name", "x".repeat(65));
    expect(stderr).toMatch(/^device-ota: name: .*\(INVALID_REQUEST; request [\w-]+\)/);
  });
});

describe("the end", () => {
  it("drains and exits with 0 on SIGTERM", async () => {
    service.child.kill("SIGTERM");
    const [code] = (await once(service.child, "exit")) as [number | null];
    expect(code).toBe(0);
  });
});
