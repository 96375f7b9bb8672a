import { randomUUID } from "node:crypto";
import { mkdtempDisposable, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { credentials } from "@grpc/grpc-js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AccessService } from "../../gen/ota/v1/access_service_pb.js";
import { Standing } from "../../gen/ota/v1/device_pb.js";
import { DeviceService } from "../../gen/ota/v1/device_service_pb.js";
import { HeartbeatService } from "../../gen/ota/v1/heartbeat_service_pb.js";
import { selfSigned } from "../../src/cli/self-signed.ts";
import { RpcClient } from "../../src/client/rpc-client.ts";
import { generateSigningKey } from "../../src/manifest/signature.ts";
import { type KeyPair, TestAuthority } from "../support/certificates.ts";
import { refusal } from "../support/door-clients.ts";
import { eventually } from "../support/eventually.ts";
import { httpsCall } from "../support/https-call.ts";
import { startCli } from "../support/run-cli.ts";
import { startTestService, type TestService } from "../support/service.ts";

/** Whoever has a certificate that is not the device's, or not a device's any more, and wants to be one. */

const { whoAmI } = AccessService.method;
const { blockDevice, unblockDevice, registerDevice, resetDeviceCredential, retireDevice } =
  DeviceService.method;

let folder: Awaited<ReturnType<typeof mkdtempDisposable>>;
let maker: TestAuthority;
/** Vouched for by the maker: one for devices, and one that may vouch for servers alone. */
let factory: TestAuthority;
let web: TestAuthority;
let service: TestService;
/** Of the service's certificate. */
let trust: string;
let clients: RpcClient[];

beforeAll(async () => {
  clients = [];
  folder = await mkdtempDisposable(join(tmpdir(), "device-ota-certificates-"));
  const file = (name: string) => join(folder.path, name);
  const pair = await selfSigned({ host: ["localhost"], days: 1 });
  maker = await TestAuthority.create("Lamp Works");
  factory = await TestAuthority.create("Factory 2", { above: maker });
  web = await TestAuthority.create("Web", { above: maker, usage: "serverAuth" });
  trust = pair.certificate;
  await writeFile(file("certificate"), pair.certificate);
  await writeFile(file("key"), pair.key);
  await writeFile(file("ca"), maker.pem);
  await revoke();
  service = await startTestService({
    settings: {
      DEVICE_OTA_TLS_CERT_FILE: file("certificate"),
      DEVICE_OTA_TLS_KEY_FILE: file("key"),
      DEVICE_OTA_TLS_CLIENT_CA_FILE: file("ca"),
      DEVICE_OTA_TLS_CLIENT_CRL_FILE: file("crl"),
      DEVICE_OTA_TLS_CLIENT_NAME: "serial_number",
      DEVICE_OTA_TLS_CLIENT_ENROL: "approval",
      DEVICE_OTA_TLS_RELOAD_SECONDS: "1",
    },
  });
});

afterAll(async () => {
  for (const client of clients) client.close();
  await service[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

async function revoke(...revoked: KeyPair[]): Promise<void> {
  const lists = [maker.revocations(revoked), factory.revocations([]), web.revocations([])];
  await writeFile(join(folder.path, "crl"), (await Promise.all(lists)).join(""));
}

/** By gRPC, with a certificate, a token, both or neither. */
function client(pair?: KeyPair, token?: string): RpcClient {
  const pem = pair && [Buffer.from(pair.key), Buffer.from(pair.certificate)];
  const made = new RpcClient({
    address: service.grpcAddress.replace("127.0.0.1", "localhost"),
    channelCredentials: credentials.createSsl(Buffer.from(trust), ...(pem ?? [])),
    ownConnection: true,
    token,
  });
  clients.push(made);
  return made;
}

/** By REST and by Connect: status and, if it is refused, the reason. */
async function overHttp(pair: KeyPair | undefined, token?: string) {
  const headers = {
    "content-type": "application/json",
    "connect-protocol-version": "1",
    ...(token && { authorization: `Bearer ${token}` }),
  };
  const options = { ca: trust, headers, ...(pair && { key: pair.key, cert: pair.certificate }) };
  const rest = await httpsCall(`${service.httpUrl}/api/v1/access/whoami`, options);
  const connect = await httpsCall(`${service.httpUrl}/ota.v1.AccessService/WhoAmI`, {
    ...options,
    method: "POST",
    body: "{}",
  });
  return [rest.body, connect.body].map(
    (body) => /"reason":\s*"(\w+)"/.exec(body)?.[1] ?? JSON.parse(body).deviceId,
  );
}

/** What all doors say of who calls: the device's id, or the reason of the refusal. */
async function told(pair: KeyPair | undefined, token?: string): Promise<string[]> {
  const grpc = client(pair, token).unary(whoAmI, {});
  const outcome = await grpc.then(
    ({ deviceId }) => deviceId,
    async () => (await refusal(grpc)).reason,
  );
  return [outcome, ...(await overHttp(pair, token))];
}

const atAllDoors = (outcome: string) => [outcome, outcome, outcome];

/** A device that an operator registered, with a certificate of the maker. */
async function device() {
  const serialNumber = `L ${randomUUID()}`;
  const { device: registered, deviceToken: token } = await client(undefined, service.adminToken).unary(
    registerDevice,
    { requestId: randomUUID(), serialNumber, deviceType: "lamp", hardwareModel: "l-1" },
  );
  const pair = await maker.issue(named(serialNumber));
  return { id: registered?.id ?? "", serialNumber, token, pair };
}

const named = (...serialNumbers: string[]) => ({
  subject: serialNumbers.map((serialNumber) => ({ "2.5.4.5": [serialNumber] })),
});

const hello = (deviceId: string) => ({
  message: { case: "hello" as const, value: { deviceId, firmwareVersion: "1.0.0", bootId: "b" } },
});

const operator = () => client(undefined, service.adminToken);

describe("a certificate of the device's own", () => {
  it("is its credential at every door, for calls and streams, with its own token or without", async () => {
    const { id, token, pair } = await device();
    expect(await told(pair)).toEqual(atAllDoors(id));
    expect(await told(pair, token)).toEqual(atAllDoors(id));
    const stream = client(pair).bidi(HeartbeatService.method.streamHeartbeats);
    await stream.send(hello(id));
    for await (const { message } of stream) {
      expect(message.case).toBe("welcome");
      break;
    }
    stream.cancel();
  });

  it("may be of an authority that the maker's vouches for", async () => {
    const { id, serialNumber } = await device();
    expect(await told(await factory.issue(named(serialNumber)))).toEqual(atAllDoors(id));
  });

  it("speaks for no other device", async () => {
    const [one, other] = [await device(), await device()];
    const asked = client(one.pair).unary(DeviceService.method.getDevice, { id: other.id });
    expect(await refusal(asked)).toMatchObject({ reason: "NOT_YOUR_DEVICE" });
    const rest = await httpsCall(`${service.httpUrl}/api/v1/devices/${other.id}`, {
      ca: trust,
      key: one.pair.key,
      cert: one.pair.certificate,
    });
    expect(rest.status).toBe(403);
  });

  it("cannot be had together with another caller's token", async () => {
    const [one, other] = [await device(), await device()];
    expect(await told(one.pair, other.token)).toEqual(atAllDoors("CALLERS_DIFFER"));
    expect(await told(one.pair, service.adminToken)).toEqual(atAllDoors("CALLERS_DIFFER"));
    expect(await told(one.pair, "ota_dev_wrong")).toEqual(atAllDoors("CREDENTIAL_INVALID"));
  });
});

describe("what is no certificate of a device", () => {
  it("counts for nothing", async () => {
    const { serialNumber } = await device();
    const stranger = await TestAuthority.create("Lamp Works");
    const past = { notBefore: new Date(Date.now() - 7_200_000), notAfter: new Date(Date.now() - 3_600_000) };
    const wrong = {
      "another authority of the same name": await stranger.issue(named(serialNumber)),
      "one that has ended": await maker.issue({ ...named(serialNumber), ...past }),
      "one for servers": await maker.issue({ ...named(serialNumber), usage: "serverAuth" }),
      "an authority for servers": await web.issue(named(serialNumber)),
      "two names": await maker.issue(named(serialNumber, "another")),
      "the name elsewhere": await maker.issue({ subject: [{ CN: [serialNumber] }] }),
    };
    for (const pair of Object.values(wrong))
      expect(await told(pair)).toEqual(atAllDoors("CERTIFICATE_INVALID"));
    const why: Record<string, string> = {};
    for (const [what, pair] of Object.entries(wrong)) {
      const call = client(pair).unary(whoAmI, {});
      why[what] = await call.then(() => "", String);
    }
    expect(why).toEqual({
      "another authority of the same name": expect.stringContaining("CERT_SIGNATURE_FAILURE"),
      "one that has ended": expect.stringContaining("CERT_HAS_EXPIRED"),
      "one for servers": expect.stringContaining("INVALID_PURPOSE"),
      "an authority for servers": expect.stringContaining("INVALID_PURPOSE"),
      "two names": expect.stringContaining("it has 2 names"),
      "the name elsewhere": expect.stringContaining("it has 0 names"),
    });
  });

  it("leaves it to the token", async () => {
    const { id, serialNumber, token } = await device();
    const stranger = await TestAuthority.create("Lamp Works");
    expect(await told(await stranger.issue(named(serialNumber)), token)).toEqual(atAllDoors(id));
    expect(await told(undefined)).toEqual(atAllDoors("CREDENTIAL_MISSING"));
  });

  it.each(["nobody", "a\u0000b", " ", "x".repeat(200)])("nor is the name %j a device's", async (name) => {
    expect(await told(await maker.issue(named(name)))).toEqual(atAllDoors("CERTIFICATE_UNKNOWN"));
  });
});

/** What gRPC and REST answer to an enrolment: the device's id and token, or the reason of the refusal. */
async function enrol(pair: KeyPair | undefined, serialNumber: string, enrolmentKey = "") {
  const [deviceType, hardwareModel, firmwareVersion] = ["lamp", "l-1", "1.0.0"];
  const request = { enrolmentKey, serialNumber, deviceType, hardwareModel, firmwareVersion };
  const call = client(pair).unary(DeviceService.method.enrolDevice, { ...request, requestId: randomUUID() });
  const grpc = await call.then(
    ({ device: enrolled, deviceToken }) => ({ id: enrolled?.id ?? "", token: deviceToken }),
    async () => (await refusal(call)).reason,
  );
  const rest = await httpsCall(`${service.httpUrl}/api/v1/devices:enrol`, {
    ca: trust,
    ...(pair && { key: pair.key, cert: pair.certificate }),
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ ...request, requestId: randomUUID() }),
  });
  return { grpc, rest: /"reason":\s*"(\w+)"/.exec(rest.body)?.[1] };
}

const bothRefuse = (reason: string) => ({ grpc: reason, rest: reason });

describe("enrolment by a factory's certificate", () => {
  it("is for the serial number that it names, once, and needs no key and gives no token", async () => {
    const serialNumber = `F ${randomUUID()}`;
    const pair = await factory.issue(named(serialNumber));
    expect(await enrol(pair, "another")).toEqual(bothRefuse("CALLERS_DIFFER"));
    expect(await enrol(pair, "another", service.enrolmentKey)).toEqual(bothRefuse("CALLERS_DIFFER"));
    const { grpc, rest } = await enrol(pair, serialNumber);
    expect(grpc).toEqual({ id: expect.any(String), token: "" });
    expect(rest).toBe("DUPLICATE");
    const id = typeof grpc === "string" ? "" : grpc.id;
    expect(await told(pair)).toEqual(atAllDoors(id));
    const { device: enrolled } = await operator().unary(DeviceService.method.getDevice, { id });
    const { events } = await operator().unary(AccessService.method.listAuditEvents, { resourceId: id });
    expect(events[0]?.details["certificate_sha256"]).toMatch(/^[0-9a-f]{64}$/);
    expect(enrolled).toMatchObject({ standing: Standing.QUARANTINED });
  });

  it("is not for whoever has none that counts", async () => {
    const serialNumber = `F ${randomUUID()}`;
    const stranger = await TestAuthority.create("Lamp Works");
    expect(await enrol(undefined, serialNumber)).toEqual(bothRefuse("INVALID_REQUEST"));
    const refused = bothRefuse("CERTIFICATE_INVALID");
    expect(await enrol(await stranger.issue(named(serialNumber)), serialNumber)).toEqual(refused);
    expect(await enrol(await web.issue(named(serialNumber)), serialNumber)).toEqual(refused);
  });

  it("brings a device back that was reset, with the certificate that it had, and no other of before", async () => {
    const { id, pair, serialNumber } = await device();
    const stolen = await factory.issue(named(serialNumber));
    expect(await enrol(pair, serialNumber)).toEqual(bothRefuse("DUPLICATE"));
    await operator().unary(resetDeviceCredential, { id, reason: "its board was exchanged" });
    expect(await told(pair)).toEqual(atAllDoors("CREDENTIAL_REVOKED"));
    expect((await enrol(pair, serialNumber)).grpc).toEqual({ id, token: "" });
    expect(await told(pair)).toEqual(atAllDoors(id));
    expect(await told(stolen)).toEqual(atAllDoors("CREDENTIAL_REVOKED"));
  });

  it("keeps a blocked and a retired serial number out", async () => {
    const [blocked, retired] = [await device(), await device()];
    await operator().unary(blockDevice, { id: blocked.id });
    expect(await enrol(blocked.pair, blocked.serialNumber)).toEqual(bothRefuse("DEVICE_BLOCKED"));
    await operator().unary(retireDevice, { id: retired.id });
    expect(await enrol(retired.pair, retired.serialNumber)).toEqual(bothRefuse("DEVICE_RETIRED"));
  });
});

describe("our agent", () => {
  it.each(["enrolled", "known by its certificate"])("is %s, and streams", async (how) => {
    const known = await device();
    const serialNumber = how === "enrolled" ? `A ${randomUUID()}` : known.serialNumber;
    const pair = await factory.issue(named(serialNumber));
    const files = { version: "1.0.0", "own.pem": pair.certificate, "own.key": pair.key, "trust.pem": trust };
    const own = await mkdtempDisposable(join(tmpdir(), "device-ota-agent-"));
    for (const [name, text] of Object.entries(files)) await writeFile(join(own.path, name), text);
    await writeFile(join(own.path, "signing.pem"), generateSigningKey().publicKeyPem);
    const server = `https://${service.grpcAddress.replace("127.0.0.1", "localhost")}`;
    const what = "--device-type lamp --model l-1 --version-file version --trusted-key signing.pem";
    const tls = "--ca trust.pem --cert own.pem --key own.key";
    const does = "--install-command true --reboot-command true";
    const args = `agent ${what} ${tls} ${does}`.split(" ");
    const agent = startCli(["--server", server, ...args, "--serial", serialNumber], { cwd: own.path });
    try {
      await eventually(() => expect(agent.output.stdout).toContain('"state":"connected"'));
    } finally {
      agent.child.kill("SIGTERM");
      await agent.result;
      await own[Symbol.asyncDispose]();
    }
    expect(agent.output.stdout).toContain(`"msg":"${how}"`);
  });
});

describe("a device that must stay out", () => {
  it("is out with its certificate as with its token", async () => {
    const { id, pair, serialNumber } = await device();
    expect(await told(pair)).toEqual(atAllDoors(id));
    await operator().unary(blockDevice, { id, reason: "stolen" });
    expect(await told(pair)).toEqual(atAllDoors("DEVICE_BLOCKED"));
    await operator().unary(unblockDevice, { id });
    expect(await told(pair)).toEqual(atAllDoors(id));

    await operator().unary(resetDeviceCredential, { id, reason: "its board was exchanged" });
    expect(await told(pair)).toEqual(atAllDoors("CREDENTIAL_REVOKED"));
    // Certificates have whole seconds.
    const later = { notBefore: new Date(Date.now() + 1_000) };
    const next = await maker.issue({ ...named(serialNumber), ...later });
    await eventually(async () => expect(await told(next)).toEqual(atAllDoors(id)));

    await operator().unary(retireDevice, { id, reason: "broken" });
    expect(await told(next)).toEqual(atAllDoors("CERTIFICATE_UNKNOWN"));
  });

  it("is out when its authority revokes the certificate, with what it has open", async () => {
    const [thief, other] = [await device(), await device()];
    const open = [thief, other].map(({ id, pair }) => {
      const stream = client(pair).bidi(HeartbeatService.method.streamHeartbeats);
      void stream.send(hello(id));
      return stream;
    });
    const [cut, stays] = open.map((stream) => stream[Symbol.asyncIterator]());
    for (const stream of [cut, stays]) expect((await stream?.next())?.value?.message.case).toBe("welcome");
    await revoke(thief.pair);
    await expect(
      (async () => {
        while ((await cut?.next())?.done !== true);
      })(),
    ).rejects.toMatchObject({ transient: true });
    expect(await told(thief.pair)).toEqual(atAllDoors("CERTIFICATE_INVALID"));
    expect(await told(other.pair)).toEqual(atAllDoors(other.id));
    for (const stream of open) stream.cancel();
  });
});
