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
import type { PortTls, PortTlsSettings } from "../../src/api/tls/port-tls.ts";
import { selfSigned } from "../../src/cli/self-signed.ts";
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

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "device-ota-tls-"));
  [sockets, logged] = [[], []];
  first = await renew();
});
afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  await doors[Symbol.asyncDispose]();
  await tls.round.close();
  await rm(folder, { recursive: true });
});

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
  tls = await localhostTls({ certFile: file("certificate"), keyFile: file("key"), ...settings }, logger);
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
