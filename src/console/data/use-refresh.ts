import type { DescMethodUnary } from "@bufbuild/protobuf";
import { createConnectQueryKey } from "@connectrpc/connect-query";
import { useQueryClient } from "@tanstack/react-query";
import { useCallback, useEffect, useRef } from "react";

/**
 * Reads again what is shown of some methods' answers, whenever the function is called, at most once each `leastMs`: for
 * pages that are told by a stream that something changed.
 */
export function useRefresh(leastMs: number, ...methods: readonly DescMethodUnary[]): () => void {
  const queries = useQueryClient();
  const wanted = useRef(methods);
  const last = useRef(Number.NEGATIVE_INFINITY);
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  useEffect(() => () => clearTimeout(timer.current), []);
  return useCallback(() => {
    if (timer.current !== undefined) return;
    const wait = Math.max(last.current + leastMs - performance.now(), 0);
    timer.current = setTimeout(() => {
      timer.current = undefined;
      last.current = performance.now();
      for (const schema of wanted.current) {
        void queries.invalidateQueries({
          queryKey: createConnectQueryKey({ schema, cardinality: undefined }),
        });
      }
    }, wait);
  }, [queries, leastMs]);
}
