import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs, durationMs, timestampFromDate } from "@bufbuild/protobuf/wkt";
import { DeviceService, type DeviceTypeSchema } from "../../../gen/ota/v1/device_service_pb.js";
import { apiCalls, type Endpoint, unary } from "../../api/pipeline/endpoint.ts";
import { actorOf } from "../../call/identity.ts";
import type { DeviceType, DeviceTypes } from "./device-types.ts";

/** The endpoints of DeviceService for device types. */
export function deviceTypeEndpoints(types: DeviceTypes): Endpoint[] {
  const { method } = DeviceService;
  return [
    unary(method.listDeviceTypes, apiCalls, async () => ({
      deviceTypes: (await types.list()).map(toMessage),
    })),
    unary(method.updateDeviceType, apiCalls, async ({ name, expectedInterval, reason }, { identity }) => {
      const type = await types.update({
        actor: actorOf(identity),
        name,
        expectedIntervalMs: expectedInterval && durationMs(expectedInterval),
        reason,
      });
      return { type: toMessage(type) };
    }),
  ];
}

function toMessage(type: DeviceType): MessageInitShape<typeof DeviceTypeSchema> {
  const { name, deviceCount, expectedIntervalMs, updatedAt } = type;
  return {
    name,
    deviceCount: BigInt(deviceCount),
    ...(expectedIntervalMs === undefined ? {} : { expectedInterval: durationFromMs(expectedIntervalMs) }),
    ...(updatedAt === undefined ? {} : { updateTime: timestampFromDate(updatedAt) }),
  };
}
