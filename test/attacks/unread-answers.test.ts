import { once } from "node:events";
import { type ClientHttp2Session, type ClientHttp2Stream, connect, constants } from "node:http2";
import { connect as connectSocket, type Socket } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { AccessService } from "../../gen/ota/v1/access_service_pb.js";
import { UpdateService } from "../../gen/ota/v1/update_service_pb.js";
import { unary } from "../../src/api/pipeline/endpoint.ts";
import { callUnary, type Doors, type DoorsOptions, openDoors } from "../api/doors.ts";
import { eventually } from "../support/eventually.ts";

/** Clients that ask for large answers and never read them, with a healthy device beside them. */

const { whoAmI } = AccessService.method;
const check = UpdateService.method.checkForUpdate;
const connectPath = `/${AccessService.typeName}/${whoAmI.name}`;
const restPath = "/api/v1/access/whoami";
const megabyte = 1024 * 1024;
const answerBytes = Math.floor(1.9 * megabyte);

/** Four answers fit into it. */
const share = 8 * megabyte;

let doors: Doors;
const opened: { destroy(): void }[] = [];

async function open(options: Partial<DoorsOptions> = {}): Promise<void> {
  const actor = "x".repeat(answerBytes);
  doors = await openDoors({
    services: [AccessService, UpdateService],
    endpoints: [
      unary(whoAmI, { access: { role: "viewer", device: true }, rate: "operator" }, async () => ({ actor })),
      unary(check, { access: { device: true }, rate: "update_check" }, async () => ({})),
    ],
    ...options,
  });
}

beforeEach(() => {
  opened.length = 0;
});

afterEach(async () => {
  for (const each of opened) each.destroy();
  await doors[Symbol.asyncDispose]();
});

/** A device's answers come as before, over a connection of its own. */
async function expectServed(): Promise<void> {
  await callUnary(doors.client("device"), check, { firmwareVersion: "1.0.0" });
}

/** A gRPC connection on which the service may send nothing but headers. */
function closedWindow(): ClientHttp2Session {
  const session = connect(`http://${doors.grpcAddress}`, { settings: { initialWindowSize: 0 } });
  session.on("error", () => {});
  opened.push(session);
  return session;
}

function askOver(session: ClientHttp2Session, token = "viewer"): ClientHttp2Stream {
  const call = session.request({
    ":method": "POST",
    ":path": connectPath,
    "content-type": "application/grpc",
    te: "trailers",
    authorization: `Bearer ${token}`,
  });
  call.on("error", () => {});
  call.end(Buffer.alloc(5));
  return call;
}

/** The gRPC status in the trailers. */
async function statusOf(call: ClientHttp2Stream): Promise<number> {
  return await new Promise((resolve) => {
    const take = (headers: Record<string, unknown>) => {
      if (headers["grpc-status"] !== undefined) resolve(Number(headers["grpc-status"]));
    };
    call.on("response", take);
    call.on("trailers", take);
    call.resume();
  });
}

describe("answers over gRPC that nobody reads", () => {
  it("hold no more than their caller's share, while others are served", async () => {
    await open({ unreadAnswers: { bytesPerCaller: share } });
    const calls = Array.from({ length: 3 }, closedWindow).flatMap((session) =>
      Array.from({ length: 4 }, () => askOver(session)),
    );
    const refused: number[] = [];
    for (const call of calls) void statusOf(call).then((status) => refused.push(status));
    await eventually(() => expect(refused).toHaveLength(8));
    expect(new Set(refused)).toEqual(new Set([8]));
    expect(doors.pipeline.unreadAnswers.size).toBe(4);
    expect(doors.pipeline.unreadAnswers.bytes).toBeLessThanOrEqual(share);
    await expectServed();
    // Another token has a share of its own.
    const other = await callUnary(doors.client("operator"), whoAmI, {});
    expect(other.actor).toHaveLength(answerBytes);
    for (const { session } of calls) session?.destroy();
    await eventually(() => expect(doors.pipeline.unreadAnswers.bytes).toBe(0));
    const again = await callUnary(doors.client("viewer"), whoAmI, {});
    expect(again.actor).toHaveLength(answerBytes);
  });

  it("of all callers are bounded as well", async () => {
    await open({ unreadAnswers: { bytes: 4 * megabyte, bytesPerCaller: 4 * megabyte } });
    const session = closedWindow();
    const unread = ["viewer", "operator"].map((token) => askOver(session, token));
    await eventually(() => expect(doors.pipeline.unreadAnswers.size).toBe(2));
    expect(await statusOf(askOver(session, "admin"))).toBe(8);
    await expectServed();
    for (const call of unread) call.close();
    await eventually(() => expect(doors.pipeline.unreadAnswers.size).toBe(0));
  });

  it("are given up after a time, however small, and others of the same connection go on", async () => {
    await open({ unreadAnswers: { timeoutMs: 200 } });
    const session = closedWindow();
    const large = askOver(session);
    await Promise.all([
      once(large, "response"),
      eventually(() => expect(doors.pipeline.unreadAnswers.size).toBe(1)),
    ]);
    const given = await eventuallyReset(large);
    expect(given).toBe(constants.NGHTTP2_CANCEL);
    expect(doors.pipeline.unreadAnswers.size).toBe(0);
    expect(session.destroyed).toBe(false);
    session.settings({ initialWindowSize: 4 * megabyte });
    const read = askOver(session);
    expect(await statusOf(read)).toBe(0);
    await expectServed();
  });
});

/** Reads what there is of a stream once it was reset, and says by which code. */
async function eventuallyReset(call: ClientHttp2Stream): Promise<number> {
  call.resume();
  if (!call.closed) await once(call, "close");
  return call.rstCode ?? 0;
}

/** A connection to the HTTP port that asks again and again, and reads nothing. */
function askWithoutReading(lines: readonly string[], body: string, times: number): Socket {
  const { hostname, port } = new URL(doors.httpUrl);
  const socket = connectSocket(Number(port), hostname);
  socket.on("error", () => {});
  socket.pause();
  opened.push(socket);
  const request = [...lines, `host: ${hostname}`, "authorization: Bearer viewer", "", body].join("\r\n");
  for (let each = 0; each < times; each++) socket.write(request);
  return socket;
}

const doorsOfHttp = [
  { door: "REST", lines: [`GET ${restPath} HTTP/1.1`], body: "" },
  {
    door: "Connect",
    lines: [
      `POST ${connectPath} HTTP/1.1`,
      "content-type: application/json",
      "connect-protocol-version: 1",
      "content-length: 2",
    ],
    body: "{}",
  },
];

for (const { door, lines, body } of doorsOfHttp) {
  describe(`answers by ${door} that nobody reads`, () => {
    it("hold no more than their caller's share, while others are served", async () => {
      await open({ unreadAnswers: { bytesPerCaller: share } });
      const { unreadAnswers } = doors.pipeline;
      const url = `${doors.httpUrl}${restPath}`;
      let most = 0;
      // The systems of both ends take some megabytes of each connection before anything stands in the service.
      await eventually(async () => {
        askWithoutReading(lines, body, 8);
        await expectServed();
        most = Math.max(most, unreadAnswers.bytes);
        // In words where the status is not out yet, else by ending the connection.
        const inWords = doors.logged.filter(({ reason }) => reason === "QUEUE_FULL").length;
        expect(inWords + opened.length - doors.http.openConnections).toBeGreaterThan(0);
      });
      expect(most).toBeLessThanOrEqual(share);
      const other = await fetch(url, { headers: { authorization: "Bearer operator" } });
      expect(await other.text()).toContain("xxxx");
      for (const socket of opened) socket.destroy();
      await eventually(() => expect(unreadAnswers.size).toBe(0));
      const again = await fetch(url, { headers: { authorization: "Bearer viewer" } });
      expect(await again.text()).toContain("xxxx");
    });

    it("are given up after a time, with their connection", async () => {
      await open({ unreadAnswers: { timeoutMs: 200 } });
      const { unreadAnswers } = doors.pipeline;
      const socket = askWithoutReading(lines, body, 8);
      await eventually(() => expect(unreadAnswers.size).toBeGreaterThan(0));
      await eventually(() => expect(doors.http.openConnections).toBe(0));
      expect(unreadAnswers.size).toBe(0);
      expect(unreadAnswers.bytes).toBe(0);
      socket.destroy();
      await expectServed();
    });
  });
}
