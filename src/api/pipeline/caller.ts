import { addressKey } from "../../call/address.ts";
import type { Identity } from "../../call/identity.ts";

/** Who makes a call, as far as is known. */
export interface Caller {
  readonly identity: Identity;
  /** The address, without port. */
  readonly peer: string;
}

/** Whose share a call counts for: the device, the token or, without either, the address. */
export function callerOf({ identity, peer }: Caller): string {
  if (identity.kind === "device") return identity.deviceId;
  return identity.kind === "operator" ? identity.tokenId : addressKey(peer);
}
