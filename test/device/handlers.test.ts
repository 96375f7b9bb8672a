import { randomUUID } from "node:crypto";
import {
  create,
  type DescMessage,
  type DescMethodUnary,
  type MessageInitShape,
  type MessageShape,
  toJson,
} from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { describe, expect, it } from "vitest";
import { AccessService } from "../../gen/ota/v1/access_service_pb.js";
import { Presence } from "../../gen/ota/v1/device_pb.js";
import { DeviceService } from "../../gen/ota/v1/device_service_pb.js";
import { accessEndpoints } from "../../src/access/access-handlers.ts";
import { peopleEndpoints } from "../../src/access/oidc/people-handlers.ts";
import { PeopleRegister } from "../../src/access/oidc/people-register.ts";
import type { CallContext, Endpoint, UnaryEndpoint } from "../../src/api/pipeline/endpoint.ts";
import type { Identity } from "../../src/call/identity.ts";
import { PageTokens } from "../../src/call/page-token.ts";
import { FleetPresence } from "../../src/device/fleet/fleet-presence.ts";
import { deviceEndpoints } from "../../src/device/registry/device-handlers.ts";
import { deviceTypeEndpoints } from "../../src/device/registry/device-type-handlers.ts";
import { DeviceTypes } from "../../src/device/registry/device-types.ts";
import { modelAliasEndpoints } from "../../src/device/registry/model-alias-handlers.ts";
import { ModelAliases } from "../../src/device/registry/model-aliases.ts";
import { silent } from "../access/access-fixture.ts";
import { type DeviceReplica, enrolmentKey, heartbeatOf, startDevices } from "./device-fixture.ts";

const admin: Identity = { kind: "operator", tokenId: "t", name: "ada", role: "admin" };
const heartbeatIntervalMs = 60_000;

/** Calls the handlers as the pipeline does, after identity and validation. */
function callerOf(devices: DeviceReplica, openUpdates: ReadonlyMap<string, string> = new Map()) {
  const { access, enrolment, creation, registry, reinstatement, standings, batches, savedFilters } = devices;
  const { keyReplacement, tokenRotation } = devices;
  const { database, clock, tokens, enrolmentKeys, signingKeys, requirements, audit } = access;
  const pageTokens = new PageTokens(Buffer.alloc(32, 1));
  const updates = {
    openUpdateIds: async () => openUpdates,
    openUpdateCount: async () => openUpdates.size,
  };
  const fleet = new FleetPresence({ database, clock, logger: silent, heartbeatIntervalMs });
  const view = fleet.view({ updates, streams: { size: 1 } });
  const endpoints: Endpoint[] = [
    ...accessEndpoints({
      tokens,
      enrolmentKeys,
      signingKeys,
      requirements,
      audit,
      heavyReads: database.heavyReads,
      pageTokens,
      settings: [],
    }),
    ...peopleEndpoints({
      people: new PeopleRegister({ database, audit, clock, memory: undefined }),
      pageTokens,
    }),
    ...deviceEndpoints({
      faults: { of: () => Promise.resolve(new Map()) },
      enrolment,
      creation,
      registry,
      reinstatement,
      keyReplacement,
      tokenRotation,
      standings,
      batches,
      savedFilters,
      ...view,
      updates,
      pageTokens,
      clock,
      heartbeatIntervalMs,
    }),
    ...deviceTypeEndpoints(
      new DeviceTypes({ database, audit, changes: devices.changes, clock, logger: silent }),
    ),
    ...modelAliasEndpoints(new ModelAliases({ database, audit })),
  ];
  const call = async <I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    identity: Identity = admin,
  ): Promise<MessageShape<O>> => {
    const endpoint = endpoints.find(
      (each) => each.method === (method as unknown),
    ) as unknown as UnaryEndpoint<I, O>;
    const context: CallContext = {
      identity,
      requestId: randomUUID(),
      signal: new AbortController().signal,
      peer: "127.0.0.1",
      door: "grpc",
      logger: silent,
      lasts: () => undefined,
      waited: () => undefined,
    };
    return create(method.output, await endpoint.handle(create(method.input, request), context));
  };
  return { call, endpoints };
}

const registration = {
  serialNumber: "SN-1",
  deviceType: "thermostat",
  hardwareModel: "tx-200",
  displayName: "Lobby",
  groups: ["berlin"],
  metadata: { floor: "0" },
};

describe("the handlers of DeviceService and AccessService", () => {
  it("serve every method of their services", async () => {
    await using devices = await startDevices();
    const served = callerOf(devices).endpoints.map(({ method }) => `${method.parent.name}/${method.name}`);
    const declared = [AccessService, DeviceService].flatMap((service) =>
      service.methods.map((method) => `${service.name}/${method.name}`),
    );
    expect(served.toSorted()).toEqual(declared.toSorted());
  });

  it("show a device with all that it reported", async () => {
    await using devices = await startDevices();
    const { call } = callerOf(devices);
    const { device, deviceToken } = await call(DeviceService.method.registerDevice, {
      ...registration,
      requestId: randomUUID(),
    });
    const id = device?.id ?? "";
    expect(device).toMatchObject({
      ...registration,
      presence: Presence.UNKNOWN,
      firmwareVersion: "",
      openUpdateId: "",
    });
    expect(device?.lastHeartbeat).toBeUndefined();
    expect(await devices.access.authenticator.identify(deviceToken)).toMatchObject({ deviceId: id });

    const receivedAt = new Date(devices.access.clock.now().getTime() - 100_000);
    devices.directory.observe([
      heartbeatOf(id, 7, {
        receivedAt,
        deviceTime: new Date("2026-01-02T03:04:05.678Z"),
        firmwareVersion: "1.1.0",
        bootId: "boot-2",
        uptimeMs: 61_500,
        batteryPercent: 0,
        charging: false,
        latitude: 52.5,
        longitude: -1.5,
        accuracyMeters: 3,
        networkType: "WIFI",
        signalDbm: -67,
        securityCounter: 2,
        imageSha256: Buffer.alloc(32, 9),
      }),
    ]);
    const shown = await callerOf(devices, new Map([[id, "update-1"]])).call(DeviceService.method.getDevice, {
      id,
    });
    expect(toJson(DeviceService.method.getDevice.output, shown)).toMatchObject({
      device: {
        openUpdateId: "update-1",
        presence: "PRESENCE_LATE",
        lastSeenTime: receivedAt.toISOString(),
        firmwareVersion: "1.1.0",
        securityCounter: "2",
        lastHeartbeat: {
          sequence: "7",
          deviceTime: "2026-01-02T03:04:05.678Z",
          firmwareVersion: "1.1.0",
          bootId: "boot-2",
          uptime: "61.500s",
          batteryPercent: 0,
          charging: false,
          location: { latitude: 52.5, longitude: -1.5, accuracyMeters: 3 },
          network: { type: "NETWORK_TYPE_WIFI", signalDbm: -67 },
          securityCounter: "2",
          imageSha256: Buffer.alloc(32, 9).toString("base64"),
        },
      },
    });
    expect(shown.device?.lastHeartbeat?.cpuPercent).toBeUndefined();
    expect(shown.device?.lastHeartbeat?.location?.altitudeMeters).toBeUndefined();
  });

  it("enrol, update, reset and retire a device", async () => {
    await using devices = await startDevices();
    const { call } = callerOf(devices);
    const key = await enrolmentKey(devices);
    const enrolled = await call(
      DeviceService.method.enrolDevice,
      {
        requestId: randomUUID(),
        enrolmentKey: key,
        serialNumber: "SN-9",
        deviceType: "camera",
        hardwareModel: "cx-1",
        firmwareVersion: "1.0.0",
        metadata: { colour: "black" },
      },
      { kind: "anonymous" },
    );
    const id = enrolled.device?.id ?? "";
    const updated = await call(DeviceService.method.updateDevice, {
      id,
      displayName: "Door",
      groups: { names: [] },
    });
    expect(updated.device).toMatchObject({ displayName: "Door", groups: [], metadata: { colour: "black" } });
    expect(await call(DeviceService.method.resetDeviceCredential, { id, reason: "stolen" })).toMatchObject({
      revokedCount: 1,
    });
    const retired = await call(DeviceService.method.retireDevice, { id, reason: "scrapped" });
    expect(retired.device?.retireTime).toBeDefined();
    const { events } = await call(AccessService.method.listAuditEvents, { resourceId: id });
    expect(events.map(({ actor, action, reason }) => `${actor} ${action} ${reason}`.trim())).toEqual([
      "operator:ada device.retire scrapped",
      "operator:ada device.reset_credential stolen",
      "operator:ada device.update",
      `device:${id} device.enrol`,
    ]);
    expect(await call(DeviceService.method.getDeviceStatusOverview, {})).toMatchObject({
      totalCount: 0n,
      streamingCount: 1n,
    });
    const { versions, points } = await call(DeviceService.method.queryVersionHistory, {
      startTime: timestampFromDate(new Date(0)),
    });
    expect({ versions, points }).toMatchObject({ versions: [], points: [{ unknownCount: 0n }] });
    await expect(
      call(DeviceService.method.queryVersionHistory, {
        startTime: timestampFromDate(new Date(1)),
        endTime: timestampFromDate(new Date(0)),
      }),
    ).rejects.toMatchObject({ fields: [{ field: "start_time" }] });
  });

  it("page through lists with tokens that belong to one filter", async () => {
    await using devices = await startDevices();
    const { call } = callerOf(devices);
    for (const serialNumber of ["SN-1", "SN-2", "SN-3"]) {
      await call(DeviceService.method.registerDevice, {
        ...registration,
        serialNumber,
        requestId: randomUUID(),
      });
    }
    const serials: string[] = [];
    let pageToken = "";
    do {
      const page = await call(DeviceService.method.listDevices, {
        pageSize: 2,
        groups: ["berlin"],
        pageToken,
      });
      serials.push(...page.devices.map((device) => device.serialNumber));
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    expect(serials).toEqual(["SN-3", "SN-2", "SN-1"]);

    const { nextPageToken } = await call(DeviceService.method.listDevices, { pageSize: 1 });
    await expect(
      call(DeviceService.method.listDevices, { pageSize: 1, groups: ["berlin"], pageToken: nextPageToken }),
    ).rejects.toMatchObject({ reason: "INVALID_PAGE_TOKEN" });
    await expect(call(AccessService.method.listTokens, { pageToken: nextPageToken })).rejects.toMatchObject({
      reason: "INVALID_PAGE_TOKEN",
    });
  });

  it("create, list and revoke tokens and enrolment keys", async () => {
    await using devices = await startDevices();
    const { call } = callerOf(devices);
    const token = await call(AccessService.method.createToken, { name: "ci", role: 2 });
    expect(token.token).toMatchObject({ name: "ci", role: 2, creator: "operator:ada" });
    const identity = await devices.access.authenticator.identify(token.secret);
    expect(await call(AccessService.method.whoAmI, {}, identity)).toMatchObject({
      actor: "operator:ci",
      role: 2,
      deviceId: "",
    });
    const key = await call(AccessService.method.createEnrolmentKey, {
      name: "line 3",
      maxUses: 3n,
      deviceTypes: ["camera"],
    });
    expect(key.key).toMatchObject({ maxUses: 3n, useCount: 0n, deviceTypes: ["camera"] });
    await expect(
      call(AccessService.method.createEnrolmentKey, { name: "x", maxUses: 2n ** 60n }),
    ).rejects.toMatchObject({ fields: [{ field: "max_uses" }] });

    const id = token.token?.id ?? "";
    const revoked = await call(AccessService.method.revokeToken, { id, reason: "done" });
    expect(revoked.token?.revokeTime).toBeDefined();
    const keyId = key.key?.id ?? "";
    const revokedKey = await call(AccessService.method.revokeEnrolmentKey, { id: keyId, reason: "done" });
    expect(revokedKey.key?.revokeTime).toBeDefined();
    expect((await call(AccessService.method.listTokens, {})).tokens.map((each) => each.id)).toEqual([id]);
    expect((await call(AccessService.method.listEnrolmentKeys, {})).keys.map((each) => each.id)).toEqual([
      keyId,
    ]);
  });
});
