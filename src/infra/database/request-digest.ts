import { createHash } from "node:crypto";
import { stringify } from "safe-stable-stringify";

/**
 * Digest of a request without its id, by which the idempotency keys tells a repeat from another request (AIP-155): the
 * number of the rule and the SHA-256 of the request as JSON. Neither the order of an object's keys nor a member that is
 * undefined makes a difference.
 */
export function requestDigest(body: object): Uint8Array {
  const hash = createHash("sha256").update(stringify(body)).digest();
  return Buffer.concat([Buffer.of(rule), hash]);
}

/**
 * Whether two digests are of different requests. Digests by different rules cannot be compared: while a release with
 * another rule takes over, an id that comes again is far likelier a repeat than a mistake.
 */
export function areDifferent(one: Uint8Array, other: Uint8Array): boolean {
  return one.length === other.length && one[0] === other[0] && Buffer.compare(one, other) !== 0;
}

/** Another number whenever the digest of a request would change; the first rule had none and digests of 32 bytes. */
const rule = 2;
