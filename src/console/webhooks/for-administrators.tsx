import { Nothing } from "../ui/nothing.tsx";

/** Stands in place of webhooks for who may not keep them. */
export function ForAdministrators() {
  return (
    <Nothing title="For administrators">
      Webhooks take events out of the service, so only administrators keep them.
    </Nothing>
  );
}
