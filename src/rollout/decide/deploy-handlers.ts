import { FirmwareService } from "../../../gen/ota/v1/firmware_service_pb.js";
import { apiCalls, type Endpoint, unary } from "../../api/pipeline/endpoint.ts";
import { actorOf } from "../../call/identity.ts";
import type { Foresight } from "../model/foresight.ts";
import type { HeardTime } from "../model/heard-time.ts";
import { ongoingStates } from "../model/rollout-state.ts";
import { fromNewRollout, toRolloutMessage, toVerbEffectMessage } from "../wire/rollout-messages.ts";
import { toWarningMessage } from "../wire/warning-messages.ts";
import type { RolloutCatalog } from "./rollout-catalog.ts";

/** FirmwareService.DeployFirmware, which makes or moves a rollout. */
export function deployEndpoints({
  catalog,
  hearing,
  foresight,
}: {
  readonly catalog: RolloutCatalog;
  readonly hearing: HeardTime;
  readonly foresight: Foresight;
}): Endpoint[] {
  return [
    unary(FirmwareService.method.deployFirmware, apiCalls, async (request, { identity, signal }) => {
      const wanted = fromNewRollout({ ...request, firmwareId: request.id, name: "" });
      const creator = { actor: actorOf(identity), requestId: request.requestId || undefined };
      const all = await catalog.list(
        { firmwareId: request.id, states: ongoingStates, firmwareVersion: undefined },
        { limit: maxOngoing },
      );
      const isOngoing = all.some(({ recalledVersion }) => recalledVersion === undefined);
      const warnings = !isOngoing ? await foresight.ofNew(wanted, signal) : [];
      const rollout = await catalog.deploy(wanted, request.ring || undefined, creator);
      return {
        rollout: toRolloutMessage(rollout, hearing),
        effect: toVerbEffectMessage(rollout.effect),
        warnings: warnings.map(toWarningMessage),
      };
    }),
  ];
}

/** Rollouts of a firmware that are under way are few, and so are the ways out that lead to it. */
const maxOngoing = 1_000;
