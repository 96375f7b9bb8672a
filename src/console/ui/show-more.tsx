import { Button, Center } from "@mantine/core";
import type { Pages } from "../data/use-pages.ts";

/** Below a list: reads its next page, if there is one. */
export function ShowMore({
  pages,
}: {
  readonly pages: Pick<Pages<unknown>, "hasMore" | "isReadingMore" | "more">;
}) {
  if (!pages.hasMore) return null;
  return (
    <Center p="sm">
      <Button variant="default" size="xs" loading={pages.isReadingMore} onClick={pages.more}>
        Show more
      </Button>
    </Center>
  );
}
