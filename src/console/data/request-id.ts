import { v4 } from "uuid";

/** A `request_id` for a create (AIP-155). The browser's own `randomUUID` is missing on pages served without TLS. */
export function newRequestId(): string {
  return v4();
}
