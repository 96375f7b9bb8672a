import { createConnectQueryKey } from "@connectrpc/connect-query";
import { useQueryClient } from "@tanstack/react-query";
import { WebhookService } from "../../../gen/ota/v1/alert_webhook_service_pb.js";

/** Reads again what is shown of webhooks and their deliveries, after a change to any of them. */
export function useReloadWebhooks(): () => Promise<void> {
  const queries = useQueryClient();
  const queryKey = createConnectQueryKey({ schema: WebhookService, cardinality: undefined });
  return () => queries.invalidateQueries({ queryKey });
}
