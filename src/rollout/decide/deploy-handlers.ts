import { FirmwareService } from "../../../gen/ota/v1/firmware_service_pb.js";
import { type Endpoint, unary } from "../../api/pipeline/endpoint.ts";
import { actorOf } from "../../call/identity.ts";
import type { HeardTime } from "../model/heard-time.ts";
import { fromNewRollout, toRolloutMessage, toVerbEffectMessage } from "../wire/rollout-messages.ts";
import type { RolloutCatalog } from "./rollout-catalog.ts";

/** FirmwareService.DeployFirmware, which makes or moves a rollout. */
export function deployEndpoints(parts: {
  readonly catalog: RolloutCatalog;
  readonly hearing: HeardTime;
}): Endpoint[] {
  const options = { access: { role: "operator" }, rate: "operator" } as const;
  return [
    unary(FirmwareService.method.deployFirmware, options, async (request, { identity }) => {
      const wanted = fromNewRollout({ ...request, firmwareId: request.id, name: "" });
      const creator = { actor: actorOf(identity), requestId: request.requestId || undefined };
      const rollout = await parts.catalog.deploy(wanted, request.ring || undefined, creator);
      return {
        rollout: toRolloutMessage(rollout, parts.hearing),
        effect: toVerbEffectMessage(rollout.effect),
      };
    }),
  ];
}
