import { once } from "node:events";
import { connect as connectTcp, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { afterEach, describe, expect, it } from "vitest";
import { AccessService } from "../../gen/ota/v1/access_service_pb.js";
import { unary } from "../../src/api/pipeline/endpoint.ts";
import { eventually } from "../support/eventually.ts";
import { type Doors, localhostTls, openDoors } from "./doors.ts";

let doors: Doors;
/** That reached their handler. */
let calls: number;
afterEach(() => doors[Symbol.asyncDispose]());

const announced = 64 * 1024 * 1024;

const head = [
  "POST /ota.v1.AccessService/WhoAmI HTTP/1.1",
  "host: a",
  "authorization: Bearer admin",
  "connect-protocol-version: 1",
  "content-type: application/json",
  "",
].join("\r\n");

/** A connection with the first byte of a request that is refused before it is there: nobody unpacks it. */
async function refusedEarly(
  isSecure: boolean,
  bodyBytes: number,
): Promise<{ socket: Socket; errors: Error[]; answer: string }> {
  const tls = isSecure ? await localhostTls() : undefined;
  calls = 0;
  const whoAmI = unary(
    AccessService.method.whoAmI,
    { access: { role: "admin" }, rate: "operator" },
    async () => {
      calls++;
      return {};
    },
  );
  doors = await openDoors({ services: [AccessService], endpoints: [whoAmI], tls });
  const port = Number(new URL(doors.httpUrl).port);
  const plain = connectTcp({ port, host: "127.0.0.1", allowHalfOpen: true });
  const socket = isSecure ? connectTls({ socket: plain, rejectUnauthorized: false }) : plain;
  const errors: Error[] = [];
  socket.on("error", (error) => errors.push(error));
  socket.write(`${head}content-encoding: br\r\ncontent-length: ${bodyBytes}\r\n\r\n{`);
  let answer = "";
  socket.on("data", (chunk: Buffer) => {
    answer += chunk.toString();
  });
  await once(socket, "end");
  return { socket, errors, answer };
}

describe.each([
  ["in clear", false],
  ["by TLS", true],
])("a request that is refused while its body is on its way, %s", (_name, isSecure) => {
  it("has its answer, and may go on sending until it has read it", async () => {
    const { socket, errors, answer } = await refusedEarly(isSecure, announced);
    expect(answer).toMatch(/^HTTP\/1\.1 501 /);
    expect(answer).toContain('"code":"unimplemented"');
    for (let sent = 0; sent < 8; sent++) {
      await new Promise<void>((resolve, reject) =>
        socket.write(Buffer.alloc(16 * 1024), (error) => (error ? reject(error) : resolve())),
      );
    }
    socket.end();
    await once(socket, "close");
    expect(errors).toEqual([]);
    await eventually(() => expect(doors.http.openConnections).toBe(0));
  });

  it("is cut if it sends on and on", async () => {
    const { socket, errors } = await refusedEarly(isSecure, announced);
    const chunk = Buffer.alloc(64 * 1024);
    let sent = 0;
    const written = () => new Promise<void>((resolve) => void socket.write(chunk, () => resolve()));
    for (; errors.length === 0 && sent < announced; sent += chunk.length) await written();
    // What the sockets of both sides hold comes on top of what is taken and dropped.
    expect(sent).toBeLessThan(announced / 2);
  });
});

it("what comes behind a request that is the last of its connection is not taken for another one", async () => {
  const { socket, answer } = await refusedEarly(false, 1_000);
  socket.write(`${" ".repeat(999)}${head}content-length: 2\r\n\r\n{}`);
  socket.end();
  await once(socket, "close");
  await eventually(() => expect(doors.http.openConnections).toBe(0));
  expect(answer.match(/HTTP\/1\.1 /g)).toHaveLength(1);
  expect(calls).toBe(0);
});
