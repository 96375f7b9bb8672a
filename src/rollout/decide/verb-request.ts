import type { Cause } from "../../call/cause.ts";
import { actorOf, type Identity } from "../../call/identity.ts";

/** A verb of an operator: which rollout, who he is and why. */
export interface VerbRequest extends Cause {
  readonly id: string;
}

/** What a request for a verb asks. */
export function verb(
  request: { readonly id: string; readonly reason?: string },
  { identity }: { readonly identity: Identity },
): VerbRequest {
  return { id: request.id, actor: actorOf(identity), reason: request.reason ?? "" };
}
