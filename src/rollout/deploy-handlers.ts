import { FirmwareService } from "../../gen/ota/v1/firmware_service_pb.js";
import { actorOf } from "../access/identity.ts";
import { type Endpoint, unary } from "../api/endpoint.ts";
import type { Clock } from "../infra/clock.ts";
import type { RolloutCatalog } from "./rollout-catalog.ts";
import { fromNewRollout, toRolloutMessage } from "./rollout-messages.ts";

/** FirmwareService.DeployFirmware, which makes or moves a rollout. */
export function deployEndpoints(parts: {
  readonly catalog: RolloutCatalog;
  readonly clock: Clock;
}): Endpoint[] {
  const options = { access: { role: "operator" }, rate: "operator" } as const;
  return [
    unary(FirmwareService.method.deployFirmware, options, async (request, { identity }) => {
      const wanted = fromNewRollout({ ...request, firmwareId: request.id, name: "" });
      const creator = { actor: actorOf(identity), requestId: request.requestId || undefined };
      const rollout = await parts.catalog.deploy(wanted, request.ring || undefined, creator);
      return { rollout: toRolloutMessage(rollout, parts.clock.now()) };
    }),
  ];
}
