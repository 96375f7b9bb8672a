import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { connect } from "node:tls";
import { type ChannelCredentials, Client, credentials, Metadata, status } from "@grpc/grpc-js";
import { afterEach, beforeEach, expect, it } from "vitest";
import { UpdateService } from "../../gen/ota/v1/update_service_pb.js";
import { unary } from "../../src/api/pipeline/endpoint.ts";
import { codecs, type Doors, deviceId, localhostTls, openDoors } from "./doors.ts";

const certificate = await readFile(new URL("./fixtures/localhost-certificate.pem", import.meta.url));
const check = UpdateService.method.checkForUpdate;
let doors: Doors;
let clients: Client[];

beforeEach(async () => {
  clients = [];
  doors = await openDoors({
    services: [UpdateService],
    endpoints: [
      unary(
        check,
        { access: { device: true }, rate: "update_check" },
        async (_request, { identity, peer }) => ({
          message: `${identity.kind === "device" ? identity.deviceId : "nobody"} at ${peer}`,
        }),
      ),
    ],
    tls: await localhostTls(),
  });
});
afterEach(async () => {
  for (const client of clients) client.close();
  await doors[Symbol.asyncDispose]();
});

it("serves clients that trust its certificate", async () => {
  expect(await call(credentials.createSsl(certificate))).toBe(`${deviceId} at 127.0.0.1`);
});

it("is not trusted by clients that do not know its certificate", async () => {
  await expect(call(credentials.createSsl())).rejects.toMatchObject({
    code: status.UNAVAILABLE,
    details: expect.stringContaining("self-signed"),
  });
});

it("does not answer in plaintext", async () => {
  await expect(call(credentials.createInsecure())).rejects.toMatchObject({ code: status.UNAVAILABLE });
});

it("speaks HTTP/2 over TLS 1.2 or later", async () => {
  const { host, port } = new URL(`https://${doors.grpcAddress}`);
  const connectTo = {
    host: host.split(":")[0],
    port: Number(port),
    ca: certificate,
    servername: "localhost",
    ALPNProtocols: ["h2"],
  };
  const socket = connect(connectTo);
  await once(socket, "secureConnect");
  expect(socket.alpnProtocol).toBe("h2");
  socket.destroy();
  const old = connect({ ...connectTo, minVersion: "TLSv1.1", maxVersion: "TLSv1.1" });
  await expect(once(old, "secureConnect")).rejects.toMatchObject({ code: expect.stringContaining("SSL") });
});

function call(channel: ChannelCredentials): Promise<string> {
  const client = new Client(doors.grpcAddress, channel, { "grpc.use_local_subchannel_pool": 1 });
  clients.push(client);
  const metadata = new Metadata();
  metadata.set("authorization", "Bearer device");
  const [path, serialize, deserialize] = codecs(check);
  const request = { firmwareVersion: "1.0.0" };
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(path, serialize, deserialize, request, metadata, (error, answer) => {
      if (error !== null) reject(error);
      else resolve(answer?.message ?? "");
    });
  });
}
