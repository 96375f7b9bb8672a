import { createConnectQueryKey } from "@connectrpc/connect-query";
import { useQueryClient } from "@tanstack/react-query";
import { ErrorService } from "../../../gen/ota/v1/error_service_pb.js";

/** Reads again what is shown of errors, after a change to any of them. */
export function useReloadErrors(): () => Promise<void> {
  const queries = useQueryClient();
  const queryKey = createConnectQueryKey({ schema: ErrorService, cardinality: undefined });
  return () => queries.invalidateQueries({ queryKey });
}
