import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createConnection } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ConnectionOptions, connect, type TLSSocket } from "node:tls";
import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { AccessService } from "../../gen/ota/v1/access_service_pb.js";
import type { ConnectionLimits } from "../../src/api/pipeline/connection-guard.ts";
import { certificateOf, type PortTls, type PortTlsSettings } from "../../src/api/tls/port-tls.ts";
import { selfSigned } from "../../src/cli/self-signed.ts";
import { systemClock } from "../../src/infra/clock.ts";
import { type KeyPair, TestAuthority } from "../support/certificates.ts";
import { eventually } from "../support/eventually.ts";
import { httpsCall } from "../support/https-call.ts";
import { type Doors, localhostTls, openDoors } from "./doors.ts";

let folder: string;
let doors: Doors;
let tls: PortTls;
/** Of the certificate that the ports began with. */
let first: string;
let logged: { msg: string }[];
let sockets: TLSSocket[];
/** By how much the service's clock is ahead. */
let aheadMs: number;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "device-ota-tls-"));
  [sockets, logged, aheadMs] = [[], [], 0];
  first = await renew();
});
afterEach(async () => {
  await close();
  await rm(folder, { recursive: true });
});

async function close(): Promise<void> {
  for (const socket of sockets) socket.destroy();
  await doors[Symbol.asyncDispose]();
  await tls.round.close();
}

const file = (name: string) => join(folder, name);

/** Writes a new pair, or a part of one. */
async function renew(days = 30, parts: readonly string[] = ["certificate", "key"]): Promise<string> {
  const pair = await selfSigned({ host: ["localhost", "127.0.0.1"], days });
  if (parts.includes("certificate")) await writeFile(file("certificate"), pair.certificate);
  if (parts.includes("key")) await writeFile(file("key"), pair.key);
  return pair.certificate;
}

async function open(
  settings: Partial<PortTlsSettings> = {},
  connections: Partial<ConnectionLimits> = {},
): Promise<void> {
  const logger = pino({}, { write: (line: string) => void logged.push(JSON.parse(line)) });
  const clock = { ...systemClock, now: () => new Date(Date.now() + aheadMs) };
  const files = { certFile: file("certificate"), keyFile: file("key") };
  tls = await localhostTls({ ...files, ...settings }, logger, clock);
  doors = await openDoors({ services: [AccessService], endpoints: [], tls, connections });
}

const ports = () => [doors.grpcAddress, new URL(doors.httpUrl).host];

async function reach(address: string, options: ConnectionOptions = {}): Promise<TLSSocket> {
  const [host, port] = address.split(":");
  const socket = connect({ host, port: Number(port), ca: first, servername: "localhost", ...options });
  sockets.push(socket);
  await once(socket, "secureConnect");
  return socket;
}

describe("renewed files", () => {
  it("are what both ports speak with from the next connection on, and open ones stay", async () => {
    await open();
    const before = await Promise.all(ports().map((port) => reach(port)));
    const second = await renew(60);
    await tls.round.run();
    for (const port of ports()) {
      await reach(port, { ca: second });
      await expect(reach(port)).rejects.toThrow("self-signed");
    }
    expect(before.map(({ readyState }) => readyState)).toEqual(["open", "open"]);
    expect(logged.map(({ msg }) => msg)).toEqual(["the ports have new certificates"]);
    expect(tls.expiresAt.getTime() - Date.now()).toBeGreaterThan(59 * 86_400_000);
  });

  it.each([
    ["a certificate whose key is still to come", () => renew(60, ["certificate"]), "is not the key"],
    ["a key without its certificate", () => renew(60, ["key"]), "is not the key"],
    ["what is no certificate", () => writeFile(file("certificate"), "-----BEGIN"), "cannot be used"],
    ["an empty key", () => writeFile(file("key"), ""), "cannot be used"],
    ["one that has ended", () => renew(-0.001), "ended"],
    ["files that are gone", () => rm(file("certificate")), "ENOENT"],
  ])("change nothing when they cannot be used: %s", async (_what, spoil, why) => {
    await open();
    await spoil();
    await tls.round.run();
    expect(tls.round.log.failed).toBe(1);
    expect(JSON.stringify(logged)).toContain(why);
    for (const port of ports()) await reach(port);
  });

  it("stop the start when they cannot be used", async () => {
    await open();
    await renew(60, ["key"]);
    await expect(localhostTls({ certFile: file("certificate"), keyFile: file("key") })).rejects.toThrow(
      `${file("key")}: is not the key`,
    );
  });

  it("are told of when they end soon", async () => {
    first = await renew(13);
    await open();
    await tls.reload();
    expect(logged.map(({ msg }) => msg)).toEqual(["the certificate of the ports ends soon, or has ended"]);
  });
});

describe("certificates of clients", () => {
  let authority: TestAuthority;
  const clients = { caFile: "", crlFile: "", from: "cn", prefix: "urn:lamp:" } as const;
  const subject = [{ CN: ["urn:lamp:7"] }];

  beforeEach(async () => {
    authority = await TestAuthority.create("Lamp Works");
    await writeFile(file("ca"), authority.pem);
    await writeFile(file("crl"), await authority.revocations([]));
    await open({ clients: { ...clients, caFile: file("ca"), crlFile: file("crl") } });
  });

  /** Connects with a certificate to each port; what the service saw, and the connections. */
  async function show({ certificate, key }: KeyPair) {
    const seen: unknown[] = [];
    const server = doors.http.fastify.server;
    server.once("secureConnection", (socket: object) => seen.push(certificateOf(socket)));
    const open = await Promise.all(ports().map((port) => reach(port, { cert: certificate, key })));
    await eventually(() => expect(seen).toHaveLength(1));
    return { seen: seen[0], ended: Promise.all(open.map((socket) => once(socket.resume(), "close"))) };
  }

  it("count with their name, and are cut when they end", async () => {
    const { seen, ended } = await show(await authority.issue({ subject }));
    expect(seen).toMatchObject({ name: "7" });
    aheadMs = 25 * 3_600_000;
    await tls.reload();
    await ended;
    expect(logged).toEqual([]);
  });

  it("are cut when their authority is no longer one", async () => {
    const { ended } = await show(await authority.issue({ subject }));
    const next = await TestAuthority.create("Bulb Works");
    await writeFile(file("ca"), next.pem);
    await writeFile(file("crl"), await next.revocations([]));
    await tls.reload();
    await ended;
    const { seen } = await show(await authority.issue({ subject }));
    expect(seen).toMatchObject({ refused: expect.stringContaining("UNABLE_TO") });
  });

  it("are refused where they cannot be read, and nobody else is", async () => {
    await close();
    await open({ clients: { caFile: file("ca"), crlFile: undefined, from: "san_uri", prefix: "urn:lamp:" } });
    const names = [{ type: "url" as const, value: "urn:lamp:7" }];
    // OpenSSL does not look into it.
    const extensions = { [authorityInformationAccess]: Buffer.from("no ASN.1") };
    expect((await show(await authority.issue({ subject, names, extensions }))).seen).toEqual({
      refused: "it cannot be read",
    });
    expect((await show(await authority.issue({ subject, names }))).seen).toMatchObject({ name: "7" });
  });

  it("are cut by a long revocation list", async () => {
    const pair = await authority.issue({ subject });
    const { ended } = await show(pair);
    const others = Array.from({ length: 5_000 }, (_, nth) => ({ serialNumber: (0x1000 + nth).toString(16) }));
    await writeFile(file("crl"), await authority.revocations([...others, pair]));
    await tls.reload();
    await ended;
    expect((await show(pair)).seen).toEqual({ refused: "CERT_REVOKED" });
  });

  it("count for nothing once a revocation list has ended, and a list that is none changes nothing", async () => {
    const pair = await authority.issue({ subject });
    await writeFile(file("crl"), "-----BEGIN X509 CRL-----");
    await expect(tls.reload()).rejects.toThrow(`${file("crl")}: cannot be used`);
    expect((await show(pair)).seen).toMatchObject({ name: "7" });
    const ended = new Date(Date.now() - 60_000);
    await writeFile(file("crl"), await authority.revocations([], ended));
    await tls.reload();
    expect((await show(pair)).seen).toEqual({ refused: "CRL_HAS_EXPIRED" });
    expect(tls.revocationsExpireAt?.getTime()).toBe(Math.floor(ended.getTime() / 1_000) * 1_000);
  });
});

describe("connections", () => {
  it("count until they close, and those who say nothing are not waited for", async () => {
    await open({}, { most: 2, authenticationMs: 1 });
    for (const port of ports()) {
      const [host, number] = port.split(":");
      const silent = createConnection({ host, port: Number(number) });
      await once(silent.resume(), "close");
      for (let nth = 0; nth < 4; nth++) {
        const next = await eventually(() => reach(port));
        expect(next.authorized).toBe(true);
        next.destroy();
      }
    }
  });
});

describe("what is spoken", () => {
  it("is HTTP/2 for gRPC and HTTP/1.1 for the rest, and browsers hear that it is TLS alone", async () => {
    await open();
    const both = { ALPNProtocols: ["h2", "http/1.1"] };
    const spoken = await Promise.all(ports().map((port) => reach(port, both)));
    expect(spoken.map(({ alpnProtocol }) => alpnProtocol)).toEqual(["h2", "http/1.1"]);
    const { headers } = await httpsCall(`${doors.httpUrl}/health/live`, { ca: first });
    expect(headers["strict-transport-security"]).toBe("max-age=600");
  });

  it("is no old version, no suite without forward secrecy, and nothing in clear", async () => {
    await open();
    for (const port of ports()) {
      const old: ConnectionOptions = {
        minVersion: "TLSv1.1",
        maxVersion: "TLSv1.1",
        ciphers: "ALL@SECLEVEL=0",
      };
      await expect(reach(port, old)).rejects.toThrow("protocol version");
      const weak: ConnectionOptions = { maxVersion: "TLSv1.2", ciphers: "ECDHE-ECDSA-AES128-SHA" };
      await expect(reach(port, weak)).rejects.toThrow("handshake failure");
    }
    await expect(fetch(doors.httpUrl.replace("https", "http"))).rejects.toThrow("fetch failed");
  });

  it("is TLS 1.3 alone where a setting says so", async () => {
    await open({ minVersion: "TLSv1.3" });
    for (const port of ports()) {
      await expect(reach(port, { maxVersion: "TLSv1.2" })).rejects.toThrow("protocol version");
      expect((await reach(port)).getProtocol()).toBe("TLSv1.3");
    }
  });
});

/** RFC 5280, section 4.2.2.1. */
const authorityInformationAccess = "1.3.6.1.5.5.7.1.1";
