import { randomUUID } from "node:crypto";
import { mkdtempDisposable, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { credentials } from "@grpc/grpc-js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AccessService } from "../../gen/ota/v1/access_service_pb.js";
import { DeviceService } from "../../gen/ota/v1/device_service_pb.js";
import { ErrorService } from "../../gen/ota/v1/error_service_pb.js";
import { FirmwareService } from "../../gen/ota/v1/firmware_service_pb.js";
import { UpdateService } from "../../gen/ota/v1/update_service_pb.js";
import { selfSigned } from "../../src/cli/self-signed.ts";
import { RpcClient } from "../../src/client/rpc-client.ts";
import { type MachineClock, systemClock } from "../../src/infra/clock.ts";
import { TestAuthority } from "../support/certificates.ts";
import { TestDeviceKey } from "../support/device-key.ts";
import { bytes, enrolDevice, http, newContent, publish, refusal } from "../support/door-clients.ts";
import { eventually } from "../support/eventually.ts";
import { startTestService, type TestService } from "../support/service.ts";

/** Calls of devices that last longer than what they were let in by. */

const cleanup = new AsyncDisposableStack();
let home: TestService;
/** Another replica, which asks for certificates. */
let secure: TestService;
let maker: TestAuthority;
let trust: Buffer;
/** More than a connection holds on its way to a reader that does not read. */
const content = newContent(24 * 1024 * 1024);

/** How far ahead of the machine the replicas are in what comes of itself. */
let aheadMs = 0;
const clock: MachineClock = {
  now: () => systemClock.now(),
  monotonicMs: () => systemClock.monotonicMs() + aheadMs,
  sinceBootMs: () => systemClock.sinceBootMs() + aheadMs,
};

beforeAll(async () => {
  const folder = cleanup.use(await mkdtempDisposable(join(tmpdir(), "device-ota-long-calls-")));
  const file = (name: string) => join(folder.path, name);
  const pair = await selfSigned({ host: ["localhost"], days: 1 });
  maker = await TestAuthority.create("Maker");
  trust = Buffer.from(pair.certificate);
  await writeFile(file("certificate"), pair.certificate);
  await writeFile(file("key"), pair.key);
  await writeFile(file("ca"), maker.pem);
  const settings = { DEVICE_OTA_DEVICE_JWT_TOLERANCE_SECONDS: "0" };
  home = cleanup.use(await startTestService({ clock, settings }));
  secure = cleanup.use(
    await startTestService({
      clock,
      databaseUrl: home.databaseUrl,
      settings: {
        ...settings,
        DEVICE_OTA_DATA_DIR: home.dataDir,
        DEVICE_OTA_TLS_CERT_FILE: file("certificate"),
        DEVICE_OTA_TLS_KEY_FILE: file("key"),
        DEVICE_OTA_TLS_CLIENT_CA_FILE: file("ca"),
        DEVICE_OTA_TLS_CLIENT_NAME: "serial_number",
        DEVICE_OTA_TLS_HTTP: "false",
      },
    }),
  );
  const { id } = await publish(home, content);
  await home
    .client()
    .unary(FirmwareService.method.deployFirmware, { id, rings: [{ name: "all", percent: 100 }] });
});
afterAll(() => cleanup.disposeAsync());

/** A device that has come with what will not do much longer. */
interface Caller {
  readonly id: string;
  readonly client: RpcClient;
  readonly replica: TestService;
  /** Lets what it came with be over. */
  outlive(): Promise<void>;
}

async function byCertificate(): Promise<Caller> {
  const serialNumber = `c ${randomUUID()}`;
  const { id } = await enrolDevice(home, { serialNumber });
  const { key, certificate } = await maker.issue({ subject: [{ "2.5.4.5": [serialNumber] }] });
  const client = cleanup.use(
    new RpcClient({
      address: secure.grpcAddress.replace("127.0.0.1", "localhost"),
      channelCredentials: credentials.createSsl(trust, Buffer.from(key), Buffer.from(certificate)),
      ownConnection: true,
    }),
  );
  return { id, client, replica: secure, outlive: async () => {} };
}

async function byOwnKey(): Promise<Caller> {
  const key = new TestDeviceKey("ed25519");
  const serialNumber = `k ${randomUUID()}`;
  const requestId = randomUUID();
  const keyProof = await key.claim(key, { sub: serialNumber, requestId });
  const { id } = await enrolDevice(home, { serialNumber, requestId, publicKey: key.pem, keyProof });
  const exp = Math.floor(Date.now() / 1_000) + 10;
  const client = home.client(await key.token(id, { exp }));
  const outlive = async () => {
    await eventually(async () =>
      expect(await refusal(client.unary(AccessService.method.whoAmI, {}))).toMatchObject({
        reason: "TOKEN_TIME_WRONG",
      }),
    );
  };
  return { id, client, replica: home, outlive };
}

async function byToken(): Promise<Caller> {
  const { id, token } = await enrolDevice(home);
  const client = home.client(token);
  const outlive = async () => {
    const { deviceToken } = await client.unary(DeviceService.method.rotateDeviceToken, {});
    await home.client(deviceToken).unary(AccessService.method.whoAmI, {});
    expect(await refusal(client.unary(AccessService.method.whoAmI, {}))).toMatchObject({
      reason: "CREDENTIAL_REVOKED",
    });
  };
  return { id, client, replica: home, outlive };
}

describe.each([
  ["by certificate alone", byCertificate],
  ["by a JWT of its own key, which ends", byOwnKey],
  ["by a token, which it changes for the next one", byToken],
])("a device that came %s", (_, begin) => {
  it("goes on with a slow download, and is cut when it is blocked", async () => {
    const caller = await begin();
    const { client, id } = caller;
    const { updateId } = await eventually(async () => {
      const check = await client.unary(UpdateService.method.checkForUpdate, { firmwareVersion: "1.0.0" });
      if (check.offer === undefined) throw new Error("this replica has not heard of the rollout");
      return check.offer;
    });
    const download = client.serverStream(UpdateService.method.downloadFirmware, { updateId });
    const messages = download[Symbol.asyncIterator]();
    await messages.next();
    const upload = refusal(crashLog(client));
    await caller.outlive();
    await lookedAgain(caller.replica);
    let received = 0;
    for await (const { message } of { [Symbol.asyncIterator]: () => messages }) {
      if (message.case === "chunk") received += message.value.data.length;
    }
    expect(received).toBe(content.length);

    await home.client().unary(DeviceService.method.blockDevice, { id, reason: "it was stolen" });
    expect(await upload).toMatchObject({ reason: "DEVICE_BLOCKED" });
  });
});

/** Waits until the replica has looked at all that is open, as it does each half minute. */
async function lookedAgain(replica: TestService): Promise<void> {
  const before = await looks(replica);
  aheadMs += 60_000;
  await eventually(async () => expect(await looks(replica)).toBeGreaterThan(before + 1));
}

async function looks(replica: TestService): Promise<number> {
  const { body } = await http(replica, "GET", "/metrics");
  const runs = /^device_ota_background_runs_total\{work="open_calls",outcome="ok"\} (\d+)$/m.exec(
    String(body),
  );
  return Number(runs?.[1] ?? 0);
}

/** A crash log of which only the beginning comes. */
function crashLog(client: RpcClient): Promise<unknown> {
  const endless = (async function* () {
    yield { data: bytes(Buffer.from("the beginning")) };
    await new Promise(() => {});
  })();
  return client.clientStream(ErrorService.method.uploadCrashLog, endless);
}
