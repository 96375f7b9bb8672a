import type { DescMessage, DescMethodUnary, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { useQuery } from "@connectrpc/connect-query";
import type { Pages } from "./use-pages.ts";

/** Reads a list of the contract that comes in one answer, as a list with one page. */
export function useList<I extends DescMessage, O extends DescMessage, Row>(
  method: DescMethodUnary<I, O>,
  input: MessageInitShape<I>,
  rowsOf: (answer: MessageShape<O>) => readonly Row[],
): Pages<Row> {
  const { data, error, refetch } = useQuery(method, input);
  return {
    rows: data && rowsOf(data),
    error,
    hasMore: false,
    isReadingMore: false,
    isStale: false,
    more: () => undefined,
    retry: () => void refetch(),
  };
}
