import { once } from "node:events";
import { connect as connectSocket } from "node:net";
import { afterAll, beforeAll, expect, it } from "vitest";
import { DeviceService } from "../../gen/ota/v1/device_service_pb.js";
import { ErrorService } from "../../gen/ota/v1/error_service_pb.js";
import { FirmwareService } from "../../gen/ota/v1/firmware_service_pb.js";
import { type Offer, UpdateService } from "../../gen/ota/v1/update_service_pb.js";
import {
  bytes,
  connectClient,
  type EnrolledDevice,
  enrolDevice,
  http,
  newContent,
  publish,
  refusal,
} from "../support/door-clients.ts";
import { eventually } from "../support/eventually.ts";
import { startTestService, type TestService } from "../support/service.ts";

/** A device that may not call any more goes on with the calls that it has open, at a replica that nobody told. */

const cleanup = new AsyncDisposableStack();
/** Where operators call, and where the device does. */
let home: TestService;
let elsewhere: TestService;
/** More than a connection holds on its way to a reader that does not read. */
const content = newContent(24 * 1024 * 1024);

beforeAll(async () => {
  const settings = {
    DEVICE_OTA_MAX_DOWNLOADS_PER_DEVICE: "10",
    DEVICE_OTA_MAX_CRASH_LOG_UPLOADS_PER_DEVICE: "10",
  };
  home = cleanup.use(await startTestService({ settings }));
  elsewhere = cleanup.use(
    await startTestService({
      databaseUrl: home.databaseUrl,
      settings: { ...settings, DEVICE_OTA_DATA_DIR: home.dataDir },
    }),
  );
  const { id } = await publish(home, content);
  await home
    .client()
    .unary(FirmwareService.method.deployFirmware, { id, rings: [{ name: "all", percent: 100 }] });
});
afterAll(() => cleanup.disposeAsync());

const { blockDevice, retireDevice, resetDeviceCredential } = DeviceService.method;
const reason = "it was stolen";

it.each([
  ["is blocked", "DEVICE_BLOCKED", (id: string) => home.client().unary(blockDevice, { id, reason })],
  ["is retired", "CREDENTIAL_REVOKED", (id: string) => home.client().unary(retireDevice, { id, reason })],
  [
    "loses its credential",
    "CREDENTIAL_REVOKED",
    (id: string) => home.client().unary(resetDeviceCredential, { id, reason }),
  ],
])("all that a device has open is cut at every door when it %s elsewhere", async (_, why, shutOut) => {
  const device = await enrolDevice(elsewhere);
  const client = elsewhere.client(device.token);
  const offer = await eventually(async () => {
    const check = await client.unary(UpdateService.method.checkForUpdate, { firmwareVersion: "1.0.0" });
    if (check.offer === undefined) throw new Error("this replica has not heard of the rollout");
    return check.offer;
  });
  const downloads = await Promise.all([
    byGrpc(device, offer),
    byConnect(device, offer),
    byHttp(device, offer),
  ]);
  const uploads = [refusal(logByGrpc(device)), logByHttp(device)];
  await eventually(async () => {
    const { body } = await http(elsewhere, "GET", "/metrics");
    const open = /^device_ota_open_streams\{method="ota.v1.ErrorService\/UploadCrashLog",door="grpc"\} 1$/m;
    expect(String(body)).toMatch(open);
  });
  await shutOut(device.id);
  expect(await Promise.all(downloads.map((rest) => rest()))).toEqual(["cut", "cut", "cut"]);
  const isBlocked = why === "DEVICE_BLOCKED";
  const refused = { code: isBlocked ? "PERMISSION_DENIED" : "UNAUTHENTICATED", reason: why, fields: [] };
  const line = isBlocked ? "HTTP/1.1 403 Forbidden" : "HTTP/1.1 401 Unauthorized";
  expect(await Promise.all(uploads)).toEqual([refused, line]);
});

/** Begins a download; reads the rest of it later. */
type Begin = (device: EnrolledDevice, offer: Offer) => Promise<() => Promise<"cut" | "whole">>;

const byGrpc: Begin = async ({ token }, { updateId }) => {
  const stream = elsewhere.client(token).serverStream(UpdateService.method.downloadFirmware, { updateId });
  return await begun(stream[Symbol.asyncIterator]());
};

const byConnect: Begin = async ({ token }, { updateId }) => {
  const client = connectClient(elsewhere, UpdateService, token);
  return await begun(client.downloadFirmware({ updateId })[Symbol.asyncIterator]());
};

const byHttp: Begin = async ({ token }, { downloadPath }) => {
  const headers = { authorization: `Bearer ${token}` };
  const { body } = await fetch(new URL(downloadPath, elsewhere.httpUrl), { headers });
  if (body === null) throw new Error("no content");
  return await begun(body[Symbol.asyncIterator]());
};

async function begun(iterator: AsyncIterator<unknown>): Promise<() => Promise<"cut" | "whole">> {
  await iterator.next();
  return async () => {
    try {
      for (;;) {
        if ((await iterator.next()).done === true) return "whole";
        // Slowly, as over a thin line: the download would be over before anybody could be told.
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    } catch {
      return "cut";
    }
  };
}

/** A crash log of which only the beginning comes. */
function logByGrpc({ token }: EnrolledDevice): Promise<unknown> {
  const endless = (async function* () {
    yield { data: bytes(Buffer.from("the beginning")) };
    await new Promise(() => {});
  })();
  return elsewhere.client(token).clientStream(ErrorService.method.uploadCrashLog, endless);
}

async function logByHttp({ token }: EnrolledDevice): Promise<string> {
  const { hostname, port } = new URL(elsewhere.httpUrl);
  const socket = connectSocket(Number(port), hostname);
  socket.on("error", () => {});
  await once(socket, "connect");
  const head = ["POST /api/v1/crashLogs HTTP/1.1", `host: ${hostname}`, `authorization: Bearer ${token}`];
  socket.write(`${[...head, "content-length: 100000"].join("\r\n")}\r\n\r\nthe beginning`);
  const [data] = (await once(socket, "data")) as [Buffer];
  socket.destroy();
  return data.toString().split("\r\n", 1)[0] ?? "";
}
