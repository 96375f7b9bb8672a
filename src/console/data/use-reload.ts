import type { DescMethodUnary } from "@bufbuild/protobuf";
import { createConnectQueryKey } from "@connectrpc/connect-query";
import { useQueryClient } from "@tanstack/react-query";

/** Reads again what is shown of a method's answers, after a change. */
export function useReload(schema: DescMethodUnary): () => Promise<void> {
  const queries = useQueryClient();
  const queryKey = createConnectQueryKey({ schema, cardinality: undefined });
  return () => queries.invalidateQueries({ queryKey });
}
