import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationMs, timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { DeviceSchema } from "../../../gen/ota/v1/device_pb.js";
import { DeviceService } from "../../../gen/ota/v1/device_service_pb.js";
import type { DeviceToken } from "../../access/device-credentials.ts";
import { apiCalls, type CallContext, type Endpoint, unary } from "../../api/pipeline/endpoint.ts";
import { addressKey } from "../../call/address.ts";
import { actorOf } from "../../call/identity.ts";
import { listPage } from "../../call/list-page.ts";
import type { PageTokens } from "../../call/page-token.ts";
import { readerOf } from "../../call/reader.ts";
import type { Clock } from "../../infra/clock.ts";
import { parseDeviceFilter } from "../filter/device-filter.ts";
import { type FleetParts, fleetEndpoints } from "../fleet/fleet-handlers.ts";
import type { OpenUpdates } from "../fleet/status-overview.ts";
import type { HeartbeatFaultWriter } from "../state/heartbeat-fault-writer.ts";
import { creationEndpoint } from "./creation-handlers.ts";
import type { DeviceCreation } from "./device-creation.ts";
import type { DeviceDetails } from "./device-details.ts";
import type { DeviceEnrolment } from "./device-enrolment.ts";
import type { DeviceKeyReplacement } from "./device-key-replacement.ts";
import { parseDeviceOrder } from "./device-list.ts";
import { deviceMessage, updatePinOf } from "./device-messages.ts";
import type { DeviceVerb } from "./device-registry.ts";
import type { DeviceReinstatement } from "./device-reinstatement.ts";
import type { DeviceStandings } from "./device-standings.ts";
import { type InventoryParts, inventoryEndpoints } from "./inventory-handlers.ts";
import type { TokenRotation } from "./token-rotation.ts";

/** What the handlers of DeviceService call. */
export interface DeviceParts extends FleetParts, InventoryParts {
  readonly enrolment: DeviceEnrolment;
  readonly creation: DeviceCreation;
  readonly keyReplacement: DeviceKeyReplacement;
  readonly tokenRotation: TokenRotation;
  readonly reinstatement: DeviceReinstatement;
  readonly standings: DeviceStandings;
  readonly faults: Pick<HeartbeatFaultWriter, "of">;
  readonly updates: OpenUpdates;
  readonly pageTokens: PageTokens;
  readonly clock: Clock;
  readonly heartbeatIntervalMs: number;
}

/** The endpoints of DeviceService. */
export function deviceEndpoints(parts: DeviceParts): Endpoint[] {
  return [
    ...admissionEndpoints(parts),
    creationEndpoint(parts.creation),
    ...readEndpoints(parts),
    ...fleetEndpoints(parts),
    ...changeEndpoints(parts),
    ...standingEndpoints(parts),
    ...inventoryEndpoints(parts),
  ];
}

function admissionEndpoints(parts: DeviceParts): Endpoint[] {
  const { enrolment, keyReplacement, tokenRotation } = parts;
  return [
    unary(
      DeviceService.method.enrolDevice,
      { rate: "enrol" },
      async (request, { certificate, peer, signal }) => {
        const { requestId, enrolmentKey, serialNumber, deviceType, hardwareModel, product } = request;
        const { firmwareVersion, metadata, publicKey, keyProof, formerDeviceId } = request;
        const { deviceId, epoch, durableSequence, isNew, ...token } = await enrolment.enrol(
          {
            requestId,
            source: addressKey(peer),
            certificate,
            enrolmentKey,
            serialNumber,
            deviceType,
            hardwareModel,
            product,
            firmwareVersion,
            metadata,
            publicKey,
            keyProof,
            formerDeviceId,
          },
          signal,
        );
        return {
          device: await admittedMessage(parts, deviceId, isNew),
          ...tokenMessage(token),
          epoch,
          durableSequence: BigInt(durableSequence),
        };
      },
    ),
    unary(DeviceService.method.rotateDeviceToken, { rate: "enrol" }, async (_, { identity }) =>
      tokenMessage(await tokenRotation.rotate(identity)),
    ),
    unary(DeviceService.method.replaceDeviceKey, { rate: "enrol" }, async (request, { identity }) => {
      const { requestId, publicKey, keyProof, consent } = request;
      return {
        keyThumbprint: await keyReplacement.replace({ identity, requestId, publicKey, keyProof, consent }),
      };
    }),
    unary(DeviceService.method.registerDevice, apiCalls, async (request, { identity }) => {
      const { requestId, serialNumber, deviceType, hardwareModel, product, displayName, groups, metadata } =
        request;
      const { deviceId, token, isNew } = await enrolment.register({
        actor: actorOf(identity),
        requestId,
        serialNumber,
        deviceType,
        hardwareModel,
        product,
        displayName,
        groups,
        metadata,
      });
      return { device: await admittedMessage(parts, deviceId, isNew), deviceToken: token };
    }),
  ];
}

/** A device's own token, if it has one. */
function tokenMessage({ token, tokenExpiresAt }: DeviceToken) {
  return {
    deviceToken: token,
    ...(tokenExpiresAt === undefined ? {} : { tokenExpireTime: timestampFromDate(tokenExpiresAt) }),
  };
}

function readEndpoints(parts: DeviceParts): Endpoint[] {
  const { registry, pageTokens } = parts;
  return [
    unary(DeviceService.method.getDevice, apiCalls, async ({ id }) => {
      return { device: await message(parts, await registry.get(id)) };
    }),
    unary(DeviceService.method.listDevices, apiCalls, async (request, { identity, signal }) => {
      const { deviceTypes, hardwareModels, groups, firmwareVersions, serialNumberPrefix, showRetired } =
        request;
      const query = {
        deviceTypes,
        hardwareModels,
        groups,
        firmwareVersions,
        serialNumberPrefix,
        showRetired,
        filter: parseDeviceFilter(request.filter),
        order: parseDeviceOrder(request.orderBy),
      };
      const page = await listPage(pageTokens, request, query, {
        list: (position) => registry.list(query, position, readerOf(identity, signal)),
        keyOf: ({ place }) => place,
      });
      const devices = page.rows.map(({ device }) => device);
      return { devices: await messages(parts, devices), nextPageToken: page.nextPageToken };
    }),
  ];
}

function changeEndpoints(parts: DeviceParts): Endpoint[] {
  const { registry, reinstatement } = parts;
  return [
    unary(
      DeviceService.method.updateDevice,
      apiCalls,
      async (
        {
          id,
          deviceType,
          hardwareModel,
          product,
          displayName,
          groups,
          metadata,
          tags,
          updatePin,
          expectedInterval,
        },
        { identity },
      ) => {
        const device = await registry.update({
          actor: actorOf(identity),
          id,
          deviceType,
          hardwareModel,
          product,
          displayName,
          groups: groups?.names,
          metadata: metadata?.entries,
          tags: tags?.names,
          updatePin: updatePin === undefined ? undefined : updatePinOf(updatePin),
          expectedIntervalMs: expectedInterval && durationMs(expectedInterval),
        });
        return { device: await message(parts, device), unchanged: device.unchanged };
      },
    ),
    unary(DeviceService.method.retireDevice, apiCalls, async ({ id, reason }, { identity }) => {
      const device = await registry.retire({ actor: actorOf(identity), id, reason });
      return {
        device: await message(parts, device),
        unchanged: device.unchanged,
        revokedCount: device.revokedCredentials,
      };
    }),
    unary(DeviceService.method.resetDeviceCredential, apiCalls, async ({ id, reason }, { identity }) => {
      const reset = await registry.resetCredential({ actor: actorOf(identity), id, reason });
      return {
        revokedCount: reset.revokedCredentials,
        enrolUntilTime: timestampFromDate(reset.enrolUntil),
      };
    }),
    unary(DeviceService.method.reinstateDevice, apiCalls, async ({ id, reason }, { identity }) => {
      await reinstatement.reinstate({ actor: actorOf(identity), id, reason });
      return { device: await message(parts, await registry.get(id)) };
    }),
  ];
}

function standingEndpoints(parts: DeviceParts): Endpoint[] {
  const { registry, standings } = parts;
  const { blockDevice, unblockDevice, quarantineDevice, approveDevice } = DeviceService.method;
  const handler =
    (act: (verb: DeviceVerb) => Promise<boolean>) =>
    async ({ id, reason }: { id: string; reason: string }, { identity }: CallContext) => {
      const changed = await act({ actor: actorOf(identity), id, reason });
      return { device: await message(parts, await registry.get(id)), unchanged: !changed };
    };
  return [
    unary(
      blockDevice,
      apiCalls,
      handler((verb) => standings.block(verb)),
    ),
    unary(
      unblockDevice,
      apiCalls,
      handler((verb) => standings.unblock(verb)),
    ),
    unary(
      quarantineDevice,
      apiCalls,
      handler((verb) => standings.quarantine(verb)),
    ),
    unary(
      approveDevice,
      apiCalls,
      handler((verb) => standings.approve(verb)),
    ),
  ];
}

/** A device that was let in a moment ago; of a new one there is no update and no fault to look for. */
async function admittedMessage(
  parts: DeviceParts,
  deviceId: string,
  isNew: boolean,
): Promise<MessageInitShape<typeof DeviceSchema>> {
  const device = await parts.registry.get(deviceId);
  if (!isNew) return await message(parts, device);
  const { clock, heartbeatIntervalMs } = parts;
  const nowMs = clock.now().getTime();
  return deviceMessage(device, { nowMs, heartbeatIntervalMs, openUpdateId: undefined, faults: [] });
}

async function message(
  parts: DeviceParts,
  device: DeviceDetails,
): Promise<MessageInitShape<typeof DeviceSchema>> {
  const [only = {}] = await messages(parts, [device]);
  return only;
}

async function messages(
  { updates, faults, clock, heartbeatIntervalMs }: DeviceParts,
  devices: readonly DeviceDetails[],
): Promise<MessageInitShape<typeof DeviceSchema>[]> {
  const ids = devices.map(({ id }) => id);
  const openUpdates = await updates.openUpdateIds(ids);
  const faultsById = await faults.of(ids);
  const nowMs = clock.now().getTime();
  return devices.map((device) =>
    deviceMessage(device, {
      nowMs,
      heartbeatIntervalMs,
      openUpdateId: openUpdates.get(device.id),
      faults: faultsById.get(device.id) ?? [],
    }),
  );
}
