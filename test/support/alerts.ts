import { AlertState } from "../../gen/ota/v1/alert_pb.js";
import { AlertService } from "../../gen/ota/v1/alert_service_pb.js";
import type { RpcClient } from "../../src/client/rpc-client.ts";

/** The alerts that fire about a resource. */
export async function firingAbout(
  rpc: RpcClient,
  resourceId: string,
): Promise<{ rule: string; summary: string }[]> {
  const { alerts } = await rpc.unary(AlertService.method.listAlerts, { pageSize: 1_000 });
  return alerts
    .filter((alert) => alert.state === AlertState.FIRING && alert.resourceId === resourceId)
    .map(({ rule, summary }) => ({ rule, summary }));
}
