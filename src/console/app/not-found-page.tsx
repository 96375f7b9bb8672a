import { LinkButton } from "../ui/link.tsx";
import { Nothing } from "../ui/nothing.tsx";
import { Page } from "../ui/page.tsx";

/** What an address without a page shows. */
export function NotFoundPage() {
  return (
    <Page title="No such page">
      <Nothing
        title="There is nothing at this address"
        actions={<LinkButton to="/">Go to the start</LinkButton>}
      >
        The link may be old, or mistyped.
      </Nothing>
    </Page>
  );
}
