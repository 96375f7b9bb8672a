import { DeviceService } from "../../../gen/ota/v1/device_service_pb.js";
import { apiCalls, type Endpoint, serverStream, unary } from "../../api/pipeline/endpoint.ts";
import { requiredTimeRange } from "../../call/request-date.ts";
import { historyMessage, momentMessage, statusMessage } from "./fleet-messages.ts";
import type { FleetWatch } from "./fleet-watch.ts";
import type { StatusOverview } from "./status-overview.ts";
import type { VersionHistory } from "./version-history.ts";

/** What the handlers of the fleet's overview call. */
export interface FleetParts {
  readonly overview: StatusOverview;
  readonly watch: FleetWatch;
  readonly versions: VersionHistory;
}

/** The endpoints of DeviceService that show the fleet as a whole. */
export function fleetEndpoints({ overview, watch, versions }: FleetParts): Endpoint[] {
  return [
    unary(DeviceService.method.getDeviceStatusOverview, apiCalls, async () =>
      statusMessage(await overview.get()),
    ),
    unary(
      DeviceService.method.queryVersionHistory,
      apiCalls,
      async ({ startTime, endTime, component, maxPoints }) => {
        const { from, to } = requiredTimeRange({ startTime, endTime });
        return historyMessage(
          await versions.read({
            component,
            from,
            to,
            maxPoints: maxPoints === 0 ? defaultHistoryPoints : maxPoints,
          }),
        );
      },
    ),
    serverStream(DeviceService.method.watchFleet, apiCalls, async function* ({ resumeToken }, { signal }) {
      for await (const moment of watch.watch(resumeToken, signal)) yield momentMessage(moment);
    }),
  ];
}

/** See `QueryVersionHistoryRequest.max_points`. */
const defaultHistoryPoints = 200;
