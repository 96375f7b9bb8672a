import type { DescMessage, DescMethodUnary, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import type { ConnectError } from "@connectrpc/connect";
import { callUnaryMethod, createConnectQueryKey, useTransport } from "@connectrpc/connect-query";
import { keepPreviousData, useInfiniteQuery } from "@tanstack/react-query";

/** A list that is read page by page. */
export interface Pages<Row> {
  /** What was read so far; undefined before the first answer. */
  readonly rows: readonly Row[] | undefined;
  readonly error: ConnectError | null;
  /** Whether there is more. */
  readonly hasMore: boolean;
  /** Whether the next page is on its way. */
  readonly isReadingMore: boolean;
  /** Whether what is shown belongs to another filter, whose answer is on its way. */
  readonly isStale: boolean;
  readonly more: () => void;
  readonly retry: () => void;
}

/** What a list is read with. */
interface PagesOptions<Answer, Row> {
  /** Takes the rows out of a page. */
  readonly rowsOf: (answer: Answer) => readonly Row[];
  /** How often to read again what is shown, while it is short; by default only when the reader comes back to it. */
  readonly everyMs?: number;
}

/** Reads a list of the contract page by page (AIP-158): its request takes `page_token`, its answer has `next_page_token`. */
export function usePages<I extends DescMessage, O extends DescMessage, Row>(
  method: DescMethodUnary<I, O>,
  input: MessageInitShape<I>,
  { rowsOf, everyMs }: PagesOptions<MessageShape<O>, Row>,
): Pages<Row> {
  const transport = useTransport();
  const query = useInfiniteQuery<
    MessageShape<O>,
    ConnectError,
    { pages: MessageShape<O>[] },
    readonly unknown[],
    string
  >({
    queryKey: createConnectQueryKey({ schema: method, input, transport, cardinality: "infinite" }),
    queryFn: ({ pageParam, signal }) =>
      callUnaryMethod(transport, method, { ...input, pageToken: pageParam } as MessageInitShape<I>, {
        signal,
      }),
    initialPageParam: "",
    getNextPageParam: (answer) => (answer as unknown as ListAnswer).nextPageToken || undefined,
    placeholderData: keepPreviousData,
    refetchInterval: (read) => (everyMs === undefined || isLong(read.state.data) ? false : everyMs),
    refetchOnWindowFocus: (read) => !isLong(read.state.data),
  });
  return {
    rows: query.data?.pages.flatMap(rowsOf),
    error: query.error,
    hasMore: query.hasNextPage,
    isReadingMore: query.isFetchingNextPage,
    isStale: query.isPlaceholderData,
    more: () => void query.fetchNextPage(),
    retry: () => void query.refetch(),
  };
}

/** A list that was read further than this is not read again by itself: each page would be a call. */
const maxPagesReadAgain = 3;

function isLong(data: { readonly pages: readonly unknown[] } | undefined): boolean {
  return (data?.pages.length ?? 0) > maxPagesReadAgain;
}

interface ListAnswer {
  readonly nextPageToken: string;
}
