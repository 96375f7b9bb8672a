import type { Offer } from "../../gen/ota/v1/update_service_pb.js";
import { isSemanticVersion } from "../version/semantic-version.ts";
import { AgentFailure } from "./agent-failure.ts";

/**
 * Refuses an offer with a field that is not what such a field looks like, before any of them is used: some name files, reach the
 * environment of commands or are counted with, and without a manifest nobody has signed them. Throws {@link AgentFailure}
 * `INVALID_VERSION` or `INVALID_OFFER`.
 */
export function checkOfferForm(offer: Offer): void {
  if (!updateId.test(offer.updateId)) malformed("update id");
  if (offer.version.length > maxVersionLength || !isSemanticVersion(offer.version)) {
    throw new AgentFailure("INVALID_VERSION", `${clipped(offer.version)} is not a semantic version`);
  }
  if (!isSha256(offer.sha256)) malformed("SHA-256");
  if (offer.sizeBytes < 1n || offer.sizeBytes > BigInt(Number.MAX_SAFE_INTEGER)) malformed("size");
  if (offer.component !== "" && !componentName.test(offer.component)) malformed("component");
}

/** Whether a text is a SHA-256 as offers and manifests write it. */
export function isSha256(text: string): boolean {
  return /^[0-9a-f]{64}$/.test(text);
}

const updateId = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** As manifests have it. */
const componentName = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

/** In characters, as in manifests; what is reported of a failure is clipped to it. */
const maxVersionLength = 128;

function malformed(field: string): never {
  throw new AgentFailure("INVALID_OFFER", `the offer's ${field} has not the form of one`);
}

function clipped(text: string): string {
  return JSON.stringify(text.slice(0, maxVersionLength));
}
