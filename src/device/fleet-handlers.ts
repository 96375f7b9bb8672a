import { DeviceService } from "../../gen/ota/v1/device_service_pb.js";
import { type Endpoint, serverStream, unary } from "../api/endpoint.ts";
import { momentMessage, statusMessage } from "./fleet-messages.ts";
import type { FleetWatch } from "./fleet-watch.ts";
import type { StatusOverview } from "./status-overview.ts";

/** What the handlers of the fleet's overview call. */
export interface FleetParts {
  readonly overview: StatusOverview;
  readonly watch: FleetWatch;
}

/** The endpoints of DeviceService that show the fleet as a whole. */
export function fleetEndpoints({ overview, watch }: FleetParts): Endpoint[] {
  return [
    unary(
      DeviceService.method.getDeviceStatusOverview,
      { access: { role: "viewer" }, rate: "operator" },
      async () => statusMessage(await overview.get()),
    ),
    serverStream(
      DeviceService.method.watchFleet,
      { access: { role: "viewer" }, rate: "operator" },
      async function* ({ resumeToken }, { signal }) {
        for await (const moment of watch.watch(resumeToken, signal)) yield momentMessage(moment);
      },
    ),
  ];
}
