import { invalidArgument, OtaError } from "../../errors.ts";
import { type PublicKey, readPublicKey } from "./public-key.ts";
import { type SignedTokenRules, verifySignedToken } from "./signed-token.ts";

/** A claim that a key shall be a device's. */
export interface KeyClaim {
  /** The JWT that makes it. */
  readonly proof: string;
  /** The request's field that it came in. */
  readonly field: string;
  /** Who signed it: the key itself, or the one before. */
  readonly signer: PublicKey;
  /** The key that shall be the device's. */
  readonly key: PublicKey;
  /** What the device is called: its serial number, or its id once it has one. */
  readonly subject: string;
  /** Of this request and no other. */
  readonly requestId: string;
}

/**
 * Checks that who signed has the private half and means this key, this device and this request, so that neither a bearer token nor another
 * request's proof can stand for it. `KEY_PROOF_INVALID`, or `TOKEN_TIME_WRONG`.
 */
export async function requireKeyProof(claim: KeyClaim, rules: SignedTokenRules, now: Date): Promise<void> {
  const refused = (why: string) => proofInvalid(claim.field, why);
  const { jti, cnf } = await verifySignedToken(claim.proof, {
    type: "ota-device-key+jwt",
    subject: claim.subject,
    publicKey: claim.signer,
    rules,
    now,
    refused,
  });
  if (jti !== claim.requestId) throw refused("its jti is not the request_id");
  const jkt = typeof cnf === "object" && cnf !== null && "jkt" in cnf ? cnf.jkt : undefined;
  if (jkt !== claim.key.thumbprint) throw refused("its cnf.jkt is not the thumbprint of the key");
}

/** The key with which a device enrols, if it names one, once it has shown that it has the private half. Throws as {@link requireKeyProof}. */
export async function keyFor(
  { publicKey, keyProof, serialNumber, requestId }: KeyedEnrolment,
  rules: SignedTokenRules,
  now: Date,
): Promise<PublicKey | undefined> {
  if (publicKey === "") {
    if (keyProof !== "") throw invalidArgument("public_key", "is required with key_proof");
    return undefined;
  }
  const key = readPublicKey(publicKey);
  const claim = { proof: keyProof, field: "key_proof", signer: key, key, subject: serialNumber, requestId };
  await requireKeyProof(claim, rules, now);
  return key;
}

interface KeyedEnrolment {
  readonly requestId: string;
  readonly serialNumber: string;
  readonly publicKey: string;
  readonly keyProof: string;
}

/** `INVALID_ARGUMENT` for a proof that is none. */
function proofInvalid(field: string, why: string): OtaError {
  return new OtaError("invalid_argument", "KEY_PROOF_INVALID", `${field} is refused: ${why}`, {
    fields: [{ field, description: why }],
  });
}
