import { type ErrorComponentProps, useRouter } from "@tanstack/react-router";
import { Failure } from "../ui/failure.tsx";
import { Page } from "../ui/page.tsx";

/** What stands in for a page that failed to load or to draw, for example after the service was upgraded under it. */
export function BrokenPage({ error, reset }: ErrorComponentProps) {
  const router = useRouter();
  const retry = async () => {
    if (isOutdated(error)) window.location.reload();
    reset();
    await router.invalidate();
  };
  return (
    <Page title="This page broke">
      <Failure error={error} doing="show this page" retry={retry} />
    </Page>
  );
}

/** A part of the console that the running service no longer has. */
function isOutdated(error: unknown): boolean {
  return error instanceof Error && /dynamically imported module|module script/i.test(error.message);
}
