import { once } from "node:events";
import { type ClientHttp2Session, connect, constants } from "node:http2";
import { connect as connectSocket, type Socket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { UpdateService } from "../../gen/ota/v1/update_service_pb.js";
import { unary } from "../../src/api/pipeline/endpoint.ts";
import { callUnary, type Doors, type DoorsOptions, openDoors } from "../api/doors.ts";
import { eventually } from "../support/eventually.ts";
import { FakeClock } from "../support/fake-clock.ts";

/** Floods of connections and of calls that are taken back, with a healthy client beside them. */

const check = UpdateService.method.checkForUpdate;
const checkPath = `/${UpdateService.typeName}/${check.name}`;

/** Stands still unless a test moves it: how fast a busy machine sends and takes a flood does not matter. */
let clock: FakeClock;
let doors: Doors;
const open: { destroy(): void }[] = [];

async function openWith(connections: DoorsOptions["connections"] = {}): Promise<void> {
  clock = new FakeClock();
  doors = await openDoors({
    clock,
    services: [UpdateService],
    endpoints: [unary(check, { access: { device: true }, rate: "update_check" }, async () => ({}))],
    connections,
  });
}

afterEach(async () => {
  for (const each of open.splice(0)) each.destroy();
  await doors[Symbol.asyncDispose]();
});

function session(): ClientHttp2Session {
  const opened = connect(`http://${doors.grpcAddress}`);
  opened.on("error", () => {});
  open.push(opened);
  return opened;
}

/** A bare connection to the gRPC port that has begun to speak HTTP/2. */
async function bareConnection(): Promise<Socket> {
  const [host = "", port] = doors.grpcAddress.split(":");
  const socket = connectSocket(Number(port), host);
  socket.on("error", () => {});
  socket.resume();
  open.push(socket);
  await once(socket, "connect");
  socket.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  socket.write(frame(frameTypes.settings, 0, 0, Buffer.alloc(0)));
  return socket;
}

const frameTypes = { headers: 1, reset: 3, settings: 4, ping: 6, windowUpdate: 8, continuation: 9 };

/** An HTTP/2 frame (RFC 9113, section 4.1). */
function frame(type: number, flags: number, stream: number, payload: Buffer): Buffer {
  const header = Buffer.alloc(9);
  header.writeUIntBE(payload.length, 0, 3);
  header.writeUInt8(type, 3);
  header.writeUInt8(flags, 4);
  header.writeUInt32BE(stream, 5);
  return Buffer.concat([header, payload]);
}

/** Headers of a gRPC call, none of them compressed (RFC 7541, section 6.2.2). */
function headerBlock(path: string, token: string): Buffer {
  const text = (value: string) => Buffer.concat([Buffer.of(value.length), Buffer.from(value)]);
  const literal = (name: string, value: string) => Buffer.concat([Buffer.of(0), text(name), text(value)]);
  return Buffer.concat([
    literal(":method", "POST"),
    literal(":scheme", "http"),
    literal(":path", path),
    literal(":authority", "service"),
    literal("content-type", "application/grpc"),
    literal("te", "trailers"),
    literal("authorization", `Bearer ${token}`),
  ]);
}

/** Begins calls and takes them back at once, 100 in one piece, until the connection is cut. */
async function rapidReset(path: string, token: string): Promise<void> {
  const socket = await bareConnection();
  const block = headerBlock(path, token);
  const cancel = Buffer.of(0, 0, 0, constants.NGHTTP2_CANCEL);
  const endOfHeaders = 4;
  for (let stream = 1; !socket.destroyed && !socket.closed; ) {
    const burst: Buffer[] = [];
    for (let each = 0; each < 100; each++, stream += 2) {
      burst.push(frame(frameTypes.headers, endOfHeaders, stream, block));
      burst.push(frame(frameTypes.reset, 0, stream, cancel));
    }
    socket.write(Buffer.concat(burst));
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Lets the time pass in which a connection has to make a call that is let in, again until all of these were taken and cut. */
async function passUntilClosed(...sockets: readonly Socket[]): Promise<void> {
  await eventually(() => {
    clock.advance(300);
    expect(sockets.every((socket) => socket.closed)).toBe(true);
  });
}

async function refusals(reason: string, door = "grpc"): Promise<number> {
  const text = await doors.metrics.text();
  const line = new RegExp(`connections_refused_total\\{door="${door}",reason="${reason}"\\} (\\d+)`);
  return Number(line.exec(text)?.[1] ?? 0);
}

describe("rapid reset", () => {
  it.each([
    ["of a stranger", checkPath, "nobody"],
    ["of a device", checkPath, "device"],
    ["of a method that does not exist", "/ota.v1.Nothing/AtAll", "device"],
  ])("%s is cut, and so is who connects again, while others are served", async (_, path, token) => {
    await openWith();
    const healthy = doors.client("device");
    await callUnary(healthy, check, { firmwareVersion: "1.0.0" });
    await rapidReset(path, token);
    await eventually(async () => expect(await refusals("flood")).toBe(1));
    // Connecting again brings nothing, over and over.
    for (let each = 0; each < 20; each++) {
      const again = session();
      await new Promise((resolve) => again.once("close", resolve));
    }
    await eventually(async () => expect(await refusals("address")).toBe(20));
    await callUnary(healthy, check, { firmwareVersion: "1.0.0" });
    await eventually(() => expect(doors.grpc.openCalls).toBe(0));
  });

  it("has its like in calls that are never let in", async () => {
    await openWith();
    const over = session();
    while (!over.destroyed) {
      const call = over.request({
        ":method": "POST",
        ":path": checkPath,
        "content-type": "application/grpc",
      });
      call.on("error", () => {});
      call.resume();
      await new Promise((resolve) => call.once("close", resolve));
    }
    expect(await refusals("flood")).toBe(1);
  });

  it("is not what a client does that takes some calls back", async () => {
    await openWith();
    const over = session();
    for (let each = 0; each < 100; each++) {
      const call = over.request({
        ":method": "POST",
        ":path": checkPath,
        "content-type": "application/grpc",
      });
      call.on("error", () => {});
      call.close(constants.NGHTTP2_CANCEL);
    }
    await new Promise((resolve) => over.ping(resolve));
    expect(over.destroyed).toBe(false);
    expect(await refusals("flood")).toBe(0);
  });
});

describe("frames that are no call", () => {
  it.each([
    ["headers that never end", frameTypes.continuation, 0, 1, Buffer.alloc(0)],
    ["settings", frameTypes.settings, 0, 0, Buffer.from([0, 4, 0, 0, 0, 1])],
    ["pings", frameTypes.ping, 0, 0, Buffer.alloc(8)],
    ["windows beyond any size", frameTypes.windowUpdate, 0, 0, Buffer.from([0x7f, 0xff, 0xff, 0xff])],
  ])("end their connection when they come in masses: %s", async (_, type, flags, stream, payload) => {
    await openWith();
    const healthy = doors.client("device");
    await callUnary(healthy, check, { firmwareVersion: "1.0.0" });
    const socket = await bareConnection();
    socket.pause();
    if (type === frameTypes.continuation) {
      socket.write(frame(frameTypes.headers, 0, stream, headerBlock(checkPath, "nobody")));
    }
    const burst = Buffer.concat(Array.from({ length: 1_000 }, () => frame(type, flags, stream, payload)));
    while (!socket.closed && !socket.destroyed) {
      socket.write(burst);
      await callUnary(healthy, check, { firmwareVersion: "1.0.0" });
    }
    await eventually(() => expect(doors.grpc.openConnections).toBe(1));
    await callUnary(healthy, check, { firmwareVersion: "1.0.0" });
  });
});

describe("strangers' connections", () => {
  it("of one address are bounded, and those that are let in count no more", async () => {
    await openWith({ unauthenticatedPerAddress: 20 });
    const strangers = await Promise.all(Array.from({ length: 19 }, bareConnection));
    for (let each = 0; each < 30; each++) {
      await callUnary(doors.client("device"), check, { firmwareVersion: "1.0.0" });
    }
    expect(await refusals("address")).toBe(0);
    // One has room.
    const more = await Promise.all(Array.from({ length: 60 }, bareConnection));
    await eventually(async () => expect(await refusals("address")).toBe(59));
    await eventually(() => expect(more.filter((socket) => socket.closed)).toHaveLength(59));
    expect(strangers.every((socket) => !socket.closed)).toBe(true);
  });

  it("are cut after a time, at both ports", async () => {
    await openWith({ authenticationMs: 300 });
    const known = doors.client("device");
    await callUnary(known, check, { firmwareVersion: "1.0.0" });
    const stranger = await bareConnection();
    const { hostname, port } = new URL(doors.httpUrl);
    const web = connectSocket(Number(port), hostname);
    open.push(web);
    web.on("error", () => {});
    web.resume();
    await passUntilClosed(stranger, web);
    expect(await refusals("unauthenticated")).toBe(1);
    expect(await refusals("unauthenticated", "http")).toBe(1);
    await callUnary(known, check, { firmwareVersion: "1.0.0" });
  });

  it("stay when a call was let in, also while its body comes and its answers go on", async () => {
    await openWith({ authenticationMs: 300 });
    const { hostname, port } = new URL(doors.httpUrl);
    const slow = ["/api/v1/updates:check", checkPath].map((path) => {
      const socket = connectSocket(Number(port), hostname);
      open.push(socket);
      socket.on("error", () => {});
      const headers = [
        `host: ${hostname}`,
        "authorization: Bearer device",
        "content-type: application/json",
        "connect-protocol-version: 1",
        "content-length: 2",
      ];
      socket.write([`POST ${path} HTTP/1.1`, ...headers, "", "{"].join("\r\n"));
      return socket;
    });
    await eventually(() => expect(doors.pipeline.pendingRequests.size).toBe(slow.length));
    await passUntilClosed(await bareConnection());
    for (const socket of slow) {
      expect(socket.closed).toBe(false);
      socket.write("}");
      const [answer] = await once(socket, "data");
      expect(String(answer)).toMatch(/^HTTP\/1\.1 (?:200|400) /);
    }
  });

  it("with nothing but refused calls are strangers still, pages and probes are not", async () => {
    await openWith({ authenticationMs: 300 });
    const keptAlive = async (path: string): Promise<Socket> => {
      const { hostname, port } = new URL(doors.httpUrl);
      const socket = connectSocket(Number(port), hostname);
      open.push(socket);
      socket.on("error", () => {});
      socket.write(`GET ${path} HTTP/1.1\r\nhost: ${hostname}\r\nauthorization: Bearer wrong\r\n\r\n`);
      await once(socket, "data");
      return socket;
    };
    const guesser = await keptAlive("/api/v1/nothing");
    const probe = await keptAlive("/health/live");
    await passUntilClosed(guesser);
    expect(probe.closed).toBe(false);
  });
});
