import { create, type MessageInitShape, type MessageShape } from "@bufbuild/protobuf";
import { durationMs, timestampFromDate } from "@bufbuild/protobuf/wkt";
import {
  type CreateDeviceResultSchema,
  DeviceService,
  type DeviceToCreateSchema,
  RegisterDeviceRequestSchema,
} from "../../../gen/ota/v1/device_service_pb.js";
import { apiCalls, type Endpoint, unary } from "../../api/pipeline/endpoint.ts";
import { checkRequest } from "../../api/pipeline/validation.ts";
import { actorOf } from "../../call/identity.ts";
import { OtaError } from "../../errors.ts";
import type { CreationOutcome, DeviceCreation, DeviceToCreate } from "./device-creation.ts";
import { requireNames } from "./new-device.ts";

/** The endpoint that registers many devices at once. */
export function creationEndpoint(creation: DeviceCreation): Endpoint {
  return unary(
    DeviceService.method.createDevices,
    apiCalls,
    async ({ requestId, devices, enrolWithin }, { identity }) => {
      const rows = devices.map(rowOf);
      const faults = rows.map((row) => faultOf(row, requestId));
      const outcomes = await creation.create({
        actor: actorOf(identity),
        requestId,
        devices: rows.filter((_, place) => faults[place] === undefined),
        enrolWithinMs: enrolWithin && durationMs(enrolWithin),
      });
      let next = 0;
      return {
        results: rows.map(({ serialNumber }, place) => {
          const error = faults[place];
          const outcome = error === undefined ? outcomes[next++] : ({ kind: "refused", error } as const);
          return { serialNumber, ...(outcome === undefined ? {} : resultOf(outcome)) };
        }),
      };
    },
  );
}

function rowOf(message: MessageShape<typeof DeviceToCreateSchema>): DeviceToCreate {
  const { serialNumber, deviceType, hardwareModel, displayName, groups, metadata, product } = message;
  return { serialNumber, deviceType, hardwareModel, displayName, groups, metadata, product };
}

/** What the rules for one device that is registered say of this one. */
function faultOf(row: DeviceToCreate, requestId: string): OtaError | undefined {
  const { groups, metadata, ...texts } = row;
  const alone = { requestId, groups: [...groups], metadata: { ...metadata }, ...texts };
  try {
    checkRequest(RegisterDeviceRequestSchema, create(RegisterDeviceRequestSchema, alone));
    requireNames(row);
    return undefined;
  } catch (error) {
    if (error instanceof OtaError) return error;
    throw error;
  }
}

function resultOf(outcome: CreationOutcome): MessageInitShape<typeof CreateDeviceResultSchema> {
  switch (outcome.kind) {
    case "created": {
      const { deviceId, token } = outcome;
      return {
        deviceId,
        ...(token === undefined ? {} : { deviceToken: token.token }),
        ...(token?.tokenExpiresAt && { tokenExpireTime: timestampFromDate(token.tokenExpiresAt) }),
      };
    }
    case "existing":
      return { deviceId: outcome.deviceId, existing: true };
    case "refused": {
      const { reason, message, metadata } = outcome.error;
      return { failure: { reason, message, field: metadata.field ?? "" } };
    }
  }
}
