import { randomUUID } from "node:crypto";
import { create, type DescMethod, type Message } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Role } from "../../gen/ota/v1/access_pb.js";
import { AccessService } from "../../gen/ota/v1/access_service_pb.js";
import { DeviceService } from "../../gen/ota/v1/device_service_pb.js";
import { FirmwareService } from "../../gen/ota/v1/firmware_service_pb.js";
import type { MethodScope } from "../../gen/ota/v1/method_access_pb.js";
import { RolloutService } from "../../gen/ota/v1/rollout_service_pb.js";
import { ExportFormat } from "../../gen/ota/v1/telemetry_service_pb.js";
import { accessRuleOf } from "../../src/api/pipeline/access-rule.ts";
import { contractServices } from "../../src/api/pipeline/endpoint-table.ts";
import type { RpcClient } from "../../src/client/rpc-client.ts";
import {
  createFirmware,
  enrolDevice,
  http,
  httpRefusal,
  newContent,
  publish,
  refusal,
} from "../support/door-clients.ts";
import { startTestService, type TestService } from "../support/service.ts";

/** Whoever has a token that is limited to products and devices, and wants more. */

const product = "boiler";
const refused = { code: "PERMISSION_DENIED", reason: "OUT_OF_SCOPE" };

let service: TestService;
let admin: RpcClient;
let mine: string;
let theirs: string;
let myFirmware: string;
let theirFirmware: string;
/** Of the product, and of everybody's devices. */
let theirRollout: string;

beforeAll(async () => {
  service = await startTestService();
  admin = service.client();
  mine = (await enrolDevice(service)).id;
  theirs = (await enrolDevice(service)).id;
  const { updateDevice } = DeviceService.method;
  await admin.unary(updateDevice, { id: mine, product, groups: { names: ["mine"] } });
  await admin.unary(updateDevice, { id: theirs, product, groups: { names: ["theirs"] } });
  myFirmware = (await publish(service, newContent(100), { product })).id;
  theirFirmware = (await publish(service, newContent(100))).id;
  const rollout = await admin.unary(RolloutService.method.createRollout, { firmwareId: myFirmware });
  theirRollout = rollout.rollout?.id ?? "";
});

afterAll(() => service[Symbol.asyncDispose]());

async function limited(products: readonly string[], deviceFilter: string, role = Role.OPERATOR) {
  const { secret } = await admin.unary(AccessService.method.createToken, {
    name: `limited ${randomUUID()}`,
    role,
    products: [...products],
    deviceFilter,
  });
  return { secret, client: service.client(secret) };
}

describe("a token with limits", () => {
  it("opens no RPC of the contract for anything beyond them", async () => {
    const { client } = await limited(["nobodys"], 'groups:"nobody"');
    const outcomes: Record<string, string> = {};
    const expected: Record<string, string> = {};
    for (const method of contractServices.flatMap(({ methods }) => methods)) {
      const { role, scope } = accessRuleOf(method);
      if (role === undefined) continue;
      expected[method.name] = expectedOf(role, scope);
      outcomes[method.name] = await knock(client, method, requestBeyond(method, scope));
    }
    expect(Object.keys(outcomes).length).toBeGreaterThan(90);
    expect(outcomes).toEqual(expected);
  });

  it("sees of lists and counts what lies within, whatever filter it writes", async () => {
    const { client } = await limited([product], 'groups:"mine"', Role.VIEWER);
    const { listDevices, countDevices } = DeviceService.method;
    const filters = [
      "",
      "serial_number:*",
      'groups:"theirs"',
      'serial_number:*) OR (groups:"theirs"',
      'a") OR (groups:"theirs" OR serial_number = "',
    ];
    for (const filter of filters) {
      const listed = await client.unary(listDevices, { filter, showRetired: true }).then(
        ({ devices }) => devices.map(({ id }) => id),
        () => [],
      );
      expect([[], [mine]]).toContainEqual(listed);
    }
    expect(await client.unary(listDevices, {})).toMatchObject({ devices: [{ id: mine }] });
    expect(await client.unary(countDevices, { filter: "serial_number:*" })).toMatchObject({ count: 1n });
    const { firmware } = await client.unary(FirmwareService.method.listFirmware, {});
    expect(firmware.map(({ id }) => id)).toEqual([myFirmware]);
  });

  it("learns nothing by a filter of what is left out of a list, from where its pages end", async () => {
    const { client } = await limited([product], "", Role.VIEWER);
    const { rollout } = await admin.unary(RolloutService.method.createRollout, { firmwareId: theirFirmware });
    const older = (await publish(service, newContent(100), { product, version: "0.0.1" })).id;
    const { rollout: mineToo } = await admin.unary(RolloutService.method.createRollout, {
      firmwareId: older,
    });
    // One that is seen comes first: a further page tells whether there is another that the rest of the filter matches.
    for (const filter of [
      `id = "${older}" OR id = "${theirFirmware}"`,
      `id = "${older}" OR product != "${product}"`,
    ]) {
      const page = await client.unary(FirmwareService.method.listFirmware, { filter, pageSize: 1 });
      expect([page.firmware.map(({ id }) => id), page.nextPageToken]).toEqual([[older], ""]);
    }
    const filter = `id = "${mineToo?.id}" OR id = "${rollout?.id}"`;
    const page = await client.unary(RolloutService.method.listRollouts, { filter, pageSize: 1 });
    expect([page.rollouts.map(({ id }) => id), page.nextPageToken]).toEqual([[mineToo?.id], ""]);
  });

  it("changes no device beyond them, by id or by filter, and learns nothing of whether it exists", async () => {
    const { client } = await limited([product], 'groups:"mine"');
    const { getDevice, updateDevice, batchUpdateDevices } = DeviceService.method;
    for (const id of [theirs, randomUUID()]) {
      expect(await refusal(client.unary(getDevice, { id }))).toMatchObject(refused);
      await expect(client.unary(updateDevice, { id, displayName: "ours" })).rejects.toThrow(
        /beyond that \(or it might not exist\)/,
      );
    }
    const addTags = ["seen"];
    expect(
      await refusal(client.unary(batchUpdateDevices, { deviceIds: [mine, theirs], addTags })),
    ).toMatchObject(refused);
    const all = { filter: "serial_number:*", expectedCount: 1n, addTags };
    expect(await client.unary(batchUpdateDevices, all)).toMatchObject({ matchedCount: 1n });
    const { device } = await admin.unary(getDevice, { id: theirs });
    expect(device).toMatchObject({ tags: [], displayName: "" });
    await client.unary(updateDevice, { id: mine.toUpperCase(), displayName: "ours" });
  });

  it("rolls out to its devices alone, and lays no hand on rollouts to others", async () => {
    const { client } = await limited([product], 'groups:"mine" OR tags:"mine"');
    const { createRollout, listRollouts, pauseRollout, startRollout, previewRollout } = RolloutService.method;
    const targeting = { filter: 'serial_number:*) OR (groups:"theirs"' };
    const preview = await client.unary(previewRollout, { firmwareId: myFirmware, targeting });
    expect(preview.targetedCount).toBe(1n);
    const { rollout } = await client.unary(createRollout, { firmwareId: myFirmware, targeting });
    expect(rollout?.targeting?.filter).toBe(
      '(groups:"mine" OR tags:"mine") AND (serial_number:*) OR (groups:"theirs")',
    );
    const id = rollout?.id ?? "";
    await client.unary(startRollout, { id });
    await client.unary(pauseRollout, { id });
    const { rollouts } = await client.unary(listRollouts, {});
    expect(rollouts.map((each) => each.id)).toEqual([id]);
    expect(await refusal(client.unary(startRollout, { id: theirRollout }))).toMatchObject(refused);
    expect(
      await refusal(client.unary(createRollout, { firmwareId: theirFirmware, targeting })),
    ).toMatchObject(refused);
    expect(await refusal(createFirmware(client, newContent(10), { product: "heater" }))).toMatchObject(
      refused,
    );
    expect(
      await refusal(client.unary(RolloutService.method.retryDevice, { id, deviceId: theirs })),
    ).toMatchObject(refused);
  });

  it("of a product goes on with its rollouts, whoever made them and for whatever devices", async () => {
    const { client } = await limited([product], "");
    const { id: firmwareId } = await publish(service, newContent(100), { product, version: "2.0.0" });
    const made = await admin.unary(RolloutService.method.createRollout, {
      firmwareId,
      targeting: { groups: ["theirs"] },
    });
    const id = made.rollout?.id ?? "";
    await client.unary(RolloutService.method.startRollout, { id });
    const deployed = await client.unary(FirmwareService.method.deployFirmware, {
      id: firmwareId,
      ring: "early",
    });
    expect(deployed).toMatchObject({ rollout: { id, targeting: { groups: ["theirs"], filter: "" } } });
  });

  it("has no way around by HTTP", async () => {
    const { secret: token } = await limited([], 'groups:"mine"');
    expect((await http(service, "GET", `/api/v1/devices/${mine}`, { token })).status).toBe(200);
    for (const path of [
      `/api/v1/devices/${theirs}`,
      `/api/v1/heartbeat/${theirs}`,
      // No message says what these are about, so they are refused altogether.
      `/api/v1/heartbeat/${mine}/export`,
      `/api/v1/crashLogs/${randomUUID()}`,
    ]) {
      const answer = await http(service, "GET", path, { token });
      expect(answer.status).toBe(403);
      expect(httpRefusal(answer)).toMatchObject(refused);
    }
  });

  it("is no administrator's, and its filter is one", async () => {
    const create = (more: object) =>
      refusal(admin.unary(AccessService.method.createToken, { name: "x", role: Role.OPERATOR, ...more }));
    expect(await create({ role: Role.ADMIN, products: [product] })).toMatchObject({
      reason: "INVALID_REQUEST",
    });
    expect(await create({ role: Role.ADMIN, deviceFilter: "lobby" })).toMatchObject({
      reason: "INVALID_REQUEST",
    });
    for (const deviceFilter of ["a) OR (b", 'groups:"', "no_such_field = 1"]) {
      expect(await create({ deviceFilter })).toMatchObject({
        reason: "INVALID_FILTER",
        fields: ["device_filter"],
      });
    }
  });

  it("says what they are to whoever has it", async () => {
    const { client } = await limited([product], 'groups:"mine"', Role.VIEWER);
    expect(await client.unary(AccessService.method.whoAmI, {})).toMatchObject({
      role: Role.VIEWER,
      products: [product],
      deviceFilter: 'groups:"mine"',
    });
  });
});

/** What a call with a token of an operator with limits comes to if it is about something beyond them. */
function expectedOf(role: string, scope: MethodScope | undefined): string {
  if (role === "admin") return "ROLE_REQUIRED";
  if (scope === undefined) return "OUT_OF_SCOPE";
  const names = [scope.deviceField, scope.productField, scope.firmwareField, scope.rolloutField];
  return names.some((path) => path !== "") ? "OUT_OF_SCOPE" : "answered";
}

/** A request that would be fine for an operator without limits, and is about what lies beyond them. */
function requestBeyond(method: DescMethod, scope: MethodScope | undefined): Message {
  const request: Record<string, unknown> = { ...rest[method.name] };
  const set = (path: string | undefined, value: unknown) => {
    const field = method.input.fields.find(({ name }) => name === path);
    if (field !== undefined) request[field.localName] = field.fieldKind === "list" ? [value] : value;
  };
  set(scope?.deviceField, theirs);
  set(scope?.productField, "heater");
  set(scope?.firmwareField, theirFirmware);
  set(scope?.rolloutField, theirRollout);
  if (method.name === "PreviewRollout") delete request["firmwareId"];
  return create(method.input, request);
}

/** What requests need beside what they are about. */
const rest: Readonly<Record<string, object>> = {
  GetTufMetadata: { file: "timestamp.json" },
  PublishTufTargets: { targets: new Uint8Array(1) },
  CreateFirmware: { version: "1.0.0", deviceTypes: ["a"], sha256: "0".repeat(64), sizeBytes: 1n },
  BatchUpdateDevices: { addTags: ["a"] },
  SearchPositions: { south: 1, north: 2, west: 1, east: 2 },
  QuerySeries: { metrics: ["battery_percent"], startTime: timestampFromDate(new Date(0)) },
  ExportHeartbeats: { format: ExportFormat.CSV },
  RollbackRing: { ring: "canary" },
  SignFirmware: { manifest: new Uint8Array(10), keyId: "a", signature: new Uint8Array(64) },
  UploadFirmwareChunk: { data: new Uint8Array(1) },
  DetachFirmwareFile: { attachmentId: randomUUID() },
  DownloadFirmwareAttachment: { attachmentId: randomUUID() },
  UpdateRollout: { name: "ours" },
  UpdateDeviceUpdate: { id: randomUUID(), metadata: {} },
};

async function knock(client: RpcClient, method: DescMethod, request: Message): Promise<string> {
  const call = async () => {
    if (method.methodKind === "unary") return await client.unary(method as never, request as never);
    if (method.methodKind === "client_streaming")
      return await client.clientStream(method as never, [request] as never);
    const answers = client.serverStream(method as never, request as never)[Symbol.asyncIterator]();
    try {
      return await answers.next();
    } finally {
      await answers.return?.(undefined);
    }
  };
  return await call().then(
    (answer) => (isAboutSomething(answer) ? "told" : "answered"),
    (error: unknown) => (error as { reason?: string }).reason ?? String(error),
  );
}

/** Whether an answer names anything that is there; all of it lies beyond the limits. */
function isAboutSomething(answer: unknown): boolean {
  const text = JSON.stringify(answer, (_, value: unknown) =>
    typeof value === "bigint" ? `${value}` : value,
  );
  return [mine, theirs, myFirmware, theirFirmware, theirRollout].some((id) => text.includes(id));
}
