import { RolloutService } from "../../../gen/ota/v1/rollout_service_pb.js";
import { apiCalls, type Endpoint, unary } from "../../api/pipeline/endpoint.ts";
import type { Clock } from "../../infra/clock.ts";
import type { RolloutCatalog } from "../decide/rollout-catalog.ts";
import { healthMessage } from "./health-messages.ts";
import type { HealthWatch } from "./health-watch.ts";

/** What the endpoint needs. */
export interface HealthEndpointParts {
  readonly catalog: Pick<RolloutCatalog, "get">;
  readonly health: HealthWatch;
  readonly clock: Clock;
}

/** GetRolloutHealth. */
export function rolloutHealthEndpoints({ catalog, health, clock }: HealthEndpointParts): Endpoint[] {
  return [
    unary(RolloutService.method.getRolloutHealth, apiCalls, async ({ id }) => {
      const { policy } = await catalog.get(id);
      const alpha = policy.healthAlpha;
      const judged = await health.read(id, alpha);
      return { health: healthMessage(judged, alpha, health.devicesOf(id), clock.now()) };
    }),
  ];
}
