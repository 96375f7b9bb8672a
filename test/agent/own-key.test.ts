import { randomUUID } from "node:crypto";
import { readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DeviceService } from "../../gen/ota/v1/device_service_pb.js";
import type { DeviceAgentOptions } from "../../src/agent/device-agent.ts";
import { keyFileSigner } from "../../src/agent/device-signer.ts";
import { RpcClient } from "../../src/client/rpc-client.ts";
import { systemClock } from "../../src/infra/clock.ts";
import { eventually } from "../support/eventually.ts";
import { startCli } from "../support/run-cli.ts";
import { startTestService, type TestService } from "../support/service.ts";
import { chip, signingKey, TestDevice } from "./agent-harness.ts";

let service: TestService;
beforeAll(async () => {
  service = await startTestService();
});
afterAll(() => service[Symbol.asyncDispose]());

const make = () => TestDevice.make({ address: service.grpcAddress });

/** A device of the service, with what else it is made of. */
function as(serialNumber: string, other: Partial<DeviceAgentOptions> = {}): Partial<DeviceAgentOptions> {
  return { enrolment: { enrolmentKey: service.enrolmentKey, serialNumber }, ...other };
}

/** Another heartbeat is durable. */
async function isHeard(device: TestDevice): Promise<void> {
  const before = device.agent.heartbeats.acknowledged;
  await eventually(() => expect(device.agent.heartbeats.acknowledged).toBeGreaterThan(before));
}

async function tokenOf(device: TestDevice): Promise<string | undefined> {
  return (await device.storage.load())?.identity?.token;
}

describe("an agent with a key of its own", () => {
  it("enrols with it, streams, and has no token, though its clock was never set", async () => {
    await using device = await make();
    const clock = { now: () => new Date(5_000), monotonicMs: () => systemClock.monotonicMs() };
    await device.boot(as(`S ${randomUUID()}`, { signer: chip(), clock }));
    await isHeard(device);
    expect(await tokenOf(device)).toBe("");
  });

  it("takes it instead of the token that it had, also if it did not hear the answer", async () => {
    await using device = await make();
    const serialNumber = `S ${randomUUID()}`;
    await device.boot(as(serialNumber));
    const token = await tokenOf(device);
    expect(token).toMatch(/^ota_dev_/);
    const before = await device.storage.load();
    const signer = chip();
    await device.reboot(as(serialNumber, { signer }));
    await isHeard(device);
    expect(await tokenOf(device)).toBe("");
    using thief = new RpcClient({ address: service.grpcAddress, token });
    await expect(thief.unary(DeviceService.method.replaceDeviceKey, {})).rejects.toMatchObject({
      reason: "CREDENTIAL_REVOKED",
    });

    await device.agent.stop();
    if (before !== undefined) await device.storage.save({ ...before, sequence: 10_000 });
    await device.boot(as(serialNumber, { signer }));
    await isHeard(device);
    expect(await tokenOf(device)).toBe("");
  });

  it("replaces it with the consent of the one before, by whatever clock", async () => {
    await using device = await make();
    const serialNumber = `S ${randomUUID()}`;
    const [first, second] = [
      chip(),
      await keyFileSigner(join(device.folder, "..", "key.pem"), { make: true }),
    ];
    await device.boot(as(serialNumber, { signer: first }));
    const clock = { now: () => new Date(5_000), monotonicMs: () => systemClock.monotonicMs() };
    const keys = { signer: second, formerSigner: first };
    await device.reboot(as(serialNumber, { ...keys, clock }));
    await isHeard(device);
    // Nobody takes the option away at once.
    await device.reboot(as(serialNumber, keys));
    await isHeard(device);
    await device.agent.stop();
    const states: string[] = [];
    await device.boot(as(serialNumber, { signer: first, onState: (state) => states.push(state) }));
    await eventually(() => expect(states).toContain("refused"));
  });

  it("goes to work without the service once the key before it is replaced", async () => {
    await using device = await make();
    const serialNumber = `S ${randomUUID()}`;
    const [first, second] = [chip(), chip()];
    await device.boot(as(serialNumber, { signer: first }));
    const keys = { signer: second, formerSigner: first };
    await device.reboot(as(serialNumber, keys));
    await isHeard(device);
    await device.reboot(as(serialNumber, { ...keys, address: "127.0.0.1:1" }));
    await eventually(() => expect(device.agent.heartbeats.waiting).toBeGreaterThan(0));
    await device.reboot(as(serialNumber, keys));
    await isHeard(device);
  });

  it("stops though the chip with its key does not answer any more", async () => {
    await using device = await make();
    const serialNumber = `S ${randomUUID()}`;
    const signer = chip();
    await device.boot(as(serialNumber, { signer }));
    const asked = Promise.withResolvers<void>();
    const sign = () => {
      asked.resolve();
      return new Promise<never>(() => undefined);
    };
    await device.reboot(as(serialNumber, { signer: { ...signer, sign } }));
    await asked.promise;
    await expect(device.agent.stop()).resolves.toBeUndefined();
  });

  it("fails a call for which no token can be made, and ends one that is cancelled meanwhile", async () => {
    const source = { token: () => Promise.reject(new Error("no TPM")), refused: () => undefined };
    using client = new RpcClient({ address: service.grpcAddress, token: source });
    const call = client.unary(DeviceService.method.getDevice, { id: randomUUID() });
    await expect(call).rejects.toMatchObject({ message: expect.stringContaining("no TPM"), transient: true });

    const slow = Promise.withResolvers<string>();
    using patient = new RpcClient({
      address: service.grpcAddress,
      token: { token: () => slow.promise, refused: () => undefined },
    });
    const leave = new AbortController();
    const left = patient.unary(
      DeviceService.method.getDevice,
      { id: randomUUID() },
      { signal: leave.signal },
    );
    leave.abort();
    slow.resolve("token");
    await expect(left).rejects.toMatchObject({ message: expect.stringContaining("cancelled") });
  });
});

describe("an agent with a token", () => {
  it("exchanges it when it starts and the token is old, and the one before counts no more", async () => {
    await using device = await make();
    const serialNumber = `S ${randomUUID()}`;
    await device.boot(as(serialNumber));
    const token = await tokenOf(device);
    await device.reboot(as(serialNumber));
    expect(await tokenOf(device)).toBe(token);
    await device.reboot(as(serialNumber, { maxTokenAgeMs: 0 }));
    await isHeard(device);
    expect(await tokenOf(device)).not.toBe(token);
    expect(await tokenOf(device)).toMatch(/^ota_dev_/);
    using thief = new RpcClient({ address: service.grpcAddress, token });
    await expect(thief.unary(DeviceService.method.rotateDeviceToken, {})).rejects.toMatchObject({
      reason: "CREDENTIAL_REVOKED",
    });
  });
});

describe("an agent whose token ends", () => {
  it("exchanges it when half of its time is over, and keeps when the next one ends", async () => {
    await using device = await make();
    const serialNumber = `S ${randomUUID()}`;
    await device.boot(as(serialNumber));
    const state = await device.storage.load();
    const { identity } = state ?? {};
    if (state === undefined || identity === undefined) throw new Error("not enrolled");
    const day = 86_400_000;
    const since = Date.now() - 10 * day;
    const agedBy = async (lifeDays: number) => {
      await device.agent.stop();
      const times = { tokenSinceMs: since, tokenExpiresMs: since + lifeDays * day };
      await device.storage.save({
        ...state,
        ...(await device.storage.load()),
        identity: { ...identity, ...times },
      });
      await device.boot(as(serialNumber));
      await isHeard(device);
      return (await device.storage.load())?.identity;
    };
    expect(await agedBy(21)).toMatchObject({ token: identity.token, tokenSinceMs: since });
    const next = await agedBy(19);
    expect(next?.token).not.toBe(identity.token);
    // Tokens of this service do not end.
    expect(next).not.toHaveProperty("tokenExpiresMs");
  });
});

describe("an agent whose token an operator does not want any more", () => {
  const { batchUpdateDevices, getDevice, rotateDeviceToken } = DeviceService.method;

  it("exchanges it at once and comes with the new one, and whoever has the old one goes on with nothing", async () => {
    await using device = await make();
    await device.boot(as(`S ${randomUUID()}`));
    await isHeard(device);
    const token = await tokenOf(device);
    const id = device.agent.deviceId;
    using operator = new RpcClient({ address: service.grpcAddress, token: service.adminToken });
    using thief = new RpcClient({ address: service.grpcAddress, token });
    await thief.unary(getDevice, { id });
    expect(await operator.unary(batchUpdateDevices, { deviceIds: [id], rotateToken: true })).toMatchObject({
      changedCount: 1n,
    });
    await eventually(async () =>
      expect((await operator.unary(getDevice, { id })).device?.tokenRotationRequestedTime).toBeUndefined(),
    );
    const next = await tokenOf(device);
    expect(next).not.toBe(token);
    await expect(thief.unary(rotateDeviceToken, {})).rejects.toMatchObject({ reason: "CREDENTIAL_REVOKED" });
    await isHeard(device);
    expect(await tokenOf(device)).toBe(next);
  });
});

describe("an agent that runs for long", () => {
  it("exchanges its token whenever it is old, and calls with the new one", async () => {
    await using device = await make();
    await device.boot(as(`S ${randomUUID()}`, { maxTokenAgeMs: 500 }));
    const token = await tokenOf(device);
    const second = await eventually(async () => {
      const now = await tokenOf(device);
      expect(now).not.toBe(token);
      return now;
    });
    await eventually(async () => expect(await tokenOf(device)).not.toBe(second));
    using thief = new RpcClient({ address: service.grpcAddress, token });
    await expect(thief.unary(DeviceService.method.rotateDeviceToken, {})).rejects.toMatchObject({
      reason: "CREDENTIAL_REVOKED",
    });
  });
});

describe("device-ota agent --key-file", () => {
  it("makes a key that its user alone can read, and keeps no token", async () => {
    await using device = await make();
    await device.storage.saveBacklog(new Uint8Array());
    const cwd = device.folder;
    await writeFile(join(cwd, "version"), "1.0.0");
    await writeFile(join(cwd, "signing.pem"), signingKey.publicKeyPem);
    const what =
      "--device-type lamp --model l-1 --version-file version --trusted-key signing.pem --key-file own.pem";
    const does = "--install-command true --reboot-command true --state-dir state";
    const args = `agent --server ${service.grpcAddress} ${what} ${does} --enrolment-key ${service.enrolmentKey}`;
    const agent = startCli([...args.split(" "), "--serial", `S ${randomUUID()}`], { cwd });
    try {
      await eventually(() => expect(agent.output.stdout).toContain('"state":"connected"'));
    } finally {
      agent.child.kill("SIGTERM");
      await agent.result;
    }
    expect((await stat(join(cwd, "own.pem"))).mode & 0o777).toBe(0o600);
    const state = await readFile(join(cwd, "state", "state.json"), "utf8");
    expect(JSON.parse(state).identity).toMatchObject({ token: "" });
  });
});
