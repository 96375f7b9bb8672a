import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { expect, it } from "vitest";
import { Role } from "../../gen/ota/v1/access_pb.js";
import { AccessService } from "../../gen/ota/v1/access_service_pb.js";
import { DeviceService } from "../../gen/ota/v1/device_service_pb.js";
import { ErrorGroupState } from "../../gen/ota/v1/error_group_pb.js";
import { ErrorService } from "../../gen/ota/v1/error_service_pb.js";
import { FirmwareService } from "../../gen/ota/v1/firmware_service_pb.js";
import { Severity } from "../../gen/ota/v1/heartbeat_pb.js";
import { HeartbeatService } from "../../gen/ota/v1/heartbeat_service_pb.js";
import { DeviceUpdateState } from "../../gen/ota/v1/rollout_pb.js";
import { RolloutService } from "../../gen/ota/v1/rollout_service_pb.js";
import { TelemetryService } from "../../gen/ota/v1/telemetry_service_pb.js";
import { UpdateService } from "../../gen/ota/v1/update_service_pb.js";
import type { RpcClient } from "../../src/client/rpc-client.ts";
import { migrateUp } from "../../src/infra/database/migrate.ts";
import { createLogger } from "../../src/infra/logger.ts";
import { startEmbeddedPostgres } from "../../src/infra/postgres/embedded-postgres.ts";
import { generateSigningKey } from "../../src/manifest/signature.ts";
import { createFirmware, newContent, publish } from "../support/door-clients.ts";
import { eventually } from "../support/eventually.ts";
import { startTestService, type TestService } from "../support/service.ts";

/** Stands wherever a caller may choose the text; it fits names and versions too. */
const marker = "outside-text";

it("holds what callers wrote only among the parameters, never in a statement", async () => {
  await using server = await startLoggingPostgres();
  await migrateUp(server.url);
  await using service = await startTestService({ databaseUrl: server.url });

  const rpc = await clientOfMarker(service);
  await callAccess(service.client());
  const device = await enrolWithMarkers(service);
  await callDevices(rpc, device.id);
  await callFirmware(rpc);
  await callRollouts(service, rpc, device);
  await callErrors(rpc, device);
  await callTelemetry(rpc, device.id);

  const statements = server.statements();
  expect(statements.filter(({ text }) => text.includes(marker))).toEqual([]);
  // What this test can see: a log without parameters, or calls that are all refused, would prove nothing.
  const carriers = statements.filter(({ parameters }) => parameters.includes(marker));
  expect(tables.filter((table) => !carriers.some(({ text }) => text.includes(table)))).toEqual([]);
});

/** Tables whose rows hold text of callers that goes there by a statement; heartbeats go by COPY. */
const tables = [
  "audit_events",
  "device_state",
  "device_updates",
  "devices",
  "enrolment_keys",
  "error_groups",
  "firmware_updates",
  "operator_tokens",
  "request_ids",
  "rollouts",
  "saved_filters",
  "signing_keys",
];

interface Statement {
  readonly text: string;
  readonly parameters: string;
}

/** A server that logs every statement that it is sent, with its parameters beside it. */
async function startLoggingPostgres() {
  const lines: string[] = [];
  const logger = createLogger({
    level: "trace",
    pretty: false,
    destination: { write: (line) => void lines.push((JSON.parse(line) as { msg: string }).msg) },
  });
  await using opened = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), "device-ota-statements-"));
  opened.defer(() => rm(folder, { recursive: true, force: true }));
  const settings = { log_statement: "all", fsync: "off", synchronous_commit: "off", full_page_writes: "off" };
  const server = opened.use(
    await startEmbeddedPostgres({ dataDir: join(folder, "postgres"), logger, settings }),
  );
  const running = opened.move();
  return {
    url: server.ownerUrl,
    statements: () => statementsOf(lines),
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

/** Lines that go on are indented by a tab; parameters are a DETAIL behind their statement. */
function statementsOf(lines: readonly string[]): Statement[] {
  const found: { text: string; parameters: string }[] = [];
  let into: "text" | "parameters" | undefined;
  for (const line of lines) {
    const last = found.at(-1);
    const statement = /^LOG: {2}(?:statement|execute [^:]*): (.*)$/.exec(line);
    const detail = /^DETAIL: {2}(.*)$/.exec(line);
    if (statement !== null) {
      found.push({ text: statement[1] ?? "", parameters: "" });
      into = "text";
    } else if (detail !== null && last !== undefined && into !== undefined) {
      last.parameters = detail[1] ?? "";
      into = "parameters";
    } else if (line.startsWith("\t") && last !== undefined && into !== undefined) last[into] += `\n${line}`;
    else into = undefined;
  }
  return found;
}

/** Calls of this operator carry the marker in their own name. */
async function clientOfMarker(service: TestService): Promise<RpcClient> {
  const { secret } = await service.client().unary(AccessService.method.createToken, {
    name: marker,
    role: Role.OPERATOR,
  });
  return service.client(secret);
}

async function callAccess(rpc: RpcClient): Promise<void> {
  const { method } = AccessService;
  const { token } = await rpc.unary(method.createToken, {
    // A name that works is no other token's.
    name: `${marker} of another`,
    role: Role.OPERATOR,
    requestId: randomUUID(),
  });
  await rpc.unary(method.revokeToken, { id: token?.id ?? "", reason: marker });
  const { key } = await rpc.unary(method.createEnrolmentKey, {
    name: marker,
    deviceTypes: [marker],
    requestId: randomUUID(),
  });
  await rpc.unary(method.revokeEnrolmentKey, { id: key?.id ?? "", reason: marker });
  const { publicKeyPem } = generateSigningKey();
  await rpc.unary(method.registerSigningKey, { name: marker, publicKeyPem });
  await rpc.unary(method.listAuditEvents, {
    resourceId: marker,
    action: marker,
    actor: marker,
    resourceType: marker,
  });
}

interface Device {
  readonly id: string;
  readonly rpc: RpcClient;
}

async function enrolWithMarkers(service: TestService): Promise<Device> {
  const { device, deviceToken } = await service.client().unary(DeviceService.method.enrolDevice, {
    requestId: randomUUID(),
    enrolmentKey: service.enrolmentKey,
    serialNumber: marker,
    deviceType: marker,
    hardwareModel: marker,
    firmwareVersion: `1.0.0-${marker}`,
    metadata: { [marker]: marker },
  });
  const rpc = service.client(deviceToken);
  await rpc.unary(HeartbeatService.method.sendHeartbeat, {
    epoch: 1,
    heartbeats: [
      {
        sequence: 1n,
        firmwareVersion: `1.0.0-${marker}`,
        bootId: marker,
        network: { carrier: marker },
        components: { [marker]: "1.0.0" },
        metrics: { [marker]: 1 },
        location: { latitude: 1, longitude: 1 },
        errors: [{ code: marker, severity: Severity.CRITICAL, message: marker, stack: marker }],
      },
    ],
  });
  return { id: device?.id ?? "", rpc };
}

async function callDevices(rpc: RpcClient, id: string): Promise<void> {
  const { method } = DeviceService;
  await rpc.unary(method.registerDevice, {
    requestId: randomUUID(),
    serialNumber: `${marker}-2`,
    deviceType: marker,
    hardwareModel: marker,
    displayName: marker,
    groups: [marker],
    metadata: { [marker]: marker },
  });
  await rpc.unary(method.updateDevice, {
    id,
    displayName: marker,
    groups: { names: [marker] },
    tags: { names: [marker] },
    metadata: { entries: { [marker]: marker } },
  });
  const filter =
    `group:${marker} OR metadata.x:"${marker}" OR firmware_version >= 1.0.0-${marker} OR ${marker}`.replace(
      "group:",
      "groups:",
    );
  await rpc.unary(method.listDevices, {
    deviceTypes: [marker],
    hardwareModels: [marker],
    groups: [marker],
    firmwareVersions: [marker],
    serialNumberPrefix: marker,
    filter,
    orderBy: "serial_number",
  });
  await rpc.unary(method.countDevices, { filter });
  await rpc.unary(method.batchUpdateDevices, {
    deviceIds: [id],
    addGroups: [`${marker}-2`],
    removeTags: [marker],
    reason: marker,
  });
  const { savedFilter } = await rpc.unary(method.createSavedFilter, {
    name: marker,
    filter,
    requestId: randomUUID(),
  });
  await rpc.unary(method.deleteSavedFilter, { id: savedFilter?.id ?? "" });
  await rpc.unary(method.queryVersionHistory, {
    component: marker,
    startTime: timestampFromDate(new Date(Date.now() - 3_600_000)),
  });
}

async function callFirmware(rpc: RpcClient): Promise<void> {
  const { method } = FirmwareService;
  const firmware = await createFirmware(rpc, newContent(100), {
    product: `${marker}-deleted`,
    version: `1.0.0-${marker}`,
    deviceTypes: [marker],
    hardwareModels: [marker],
    releaseNotes: marker,
    metadata: { [marker]: marker },
    requestId: randomUUID(),
  });
  await rpc.unary(method.updateFirmware, { id: firmware.id, releaseNotes: `${marker} again` });
  await rpc.unary(method.listFirmware, {
    product: marker,
    version: marker,
    deviceType: marker,
    hardwareModel: marker,
  });
  await rpc.unary(method.deleteFirmware, { id: firmware.id });
}

/** A rollout that the device takes and fails, so that its words reach the update's row. */
async function callRollouts(service: TestService, rpc: RpcClient, device: Device): Promise<void> {
  const { method } = RolloutService;
  const firmware = await publish(service, newContent(100), {
    product: marker,
    version: `1.1.0-${marker}`,
    deviceTypes: [marker],
  });
  const { rollout } = await rpc.unary(method.createRollout, {
    firmwareId: firmware.id,
    name: marker,
    targeting: { groups: [marker], excludedGroups: [`not-${marker}`], filter: `groups:${marker}` },
    rings: [{ name: marker, percent: 100 }],
    requestId: randomUUID(),
  });
  const id = rollout?.id ?? "";
  await rpc.unary(method.previewRollout, { rolloutId: id });
  await rpc.unary(method.startRollout, { id });
  await rpc.unary(method.explainUpdate, { rolloutId: id, deviceId: device.id });
  const offer = await eventually(async () => {
    const answer = await device.rpc.unary(UpdateService.method.checkForUpdate, {
      firmwareVersion: `1.0.0-${marker}`,
      bootId: marker,
      components: { [marker]: "1.0.0" },
    });
    if (answer.offer === undefined) throw new Error("no offer yet");
    return answer.offer;
  });
  await device.rpc.unary(UpdateService.method.reportUpdateStatus, {
    updateId: offer.updateId,
    state: DeviceUpdateState.FAILED,
    failureReason: "NO_SPACE",
    failureMessage: marker,
  });
  await rpc.unary(method.listDeviceUpdates, { rolloutId: id });
  await rpc.unary(method.listFailureReasons, { id });
  await rpc.unary(method.listRollouts, { firmwareVersion: `1.1.0-${marker}` });
  await rpc.unary(method.abortRollout, { id, reason: marker });
}

async function callErrors(rpc: RpcClient, device: Device): Promise<void> {
  const { method } = ErrorService;
  const log = Buffer.from(marker);
  await device.rpc.clientStream(
    method.uploadCrashLog,
    (async function* () {
      yield { data: new Uint8Array(log) };
    })(),
  );
  const group = await eventually(async () => {
    const { groups } = await rpc.unary(method.listErrorGroups, {
      text: marker,
      deviceType: marker,
      firmwareVersion: `1.0.0-${marker}`,
    });
    const [first] = groups;
    if (first === undefined) throw new Error("no group yet");
    return first;
  });
  await rpc.unary(method.updateErrorGroup, {
    id: group.id,
    state: ErrorGroupState.RESOLVED,
    reason: marker,
  });
  await rpc.unary(method.listErrorOccurrences, { groupId: group.id });
  await rpc.unary(method.listErrorGroupDevices, { id: group.id });
}

async function callTelemetry(rpc: RpcClient, deviceId: string): Promise<void> {
  const { method } = TelemetryService;
  const startTime = timestampFromDate(new Date(Date.now() - 3_600_000));
  const filter = `groups:${marker}`;
  await rpc.unary(method.querySeries, { filter, metrics: [`metrics.${marker}`], startTime });
  await rpc.unary(method.querySeries, { deviceId, metrics: [`metrics.${marker}`], startTime });
  await rpc.unary(method.listMetrics, { deviceType: marker });
  await rpc.unary(method.searchPositions, { south: -1, west: -1, north: 2, east: 2, filter });
}
