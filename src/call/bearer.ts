import { OtaError } from "../errors.ts";

/** No secret is longer; longer texts are refused before they are hashed. */
export const maxSecretLength = 256;

/** No signed token (JWT) is longer: with all of a large company's groups in it one has some kilobytes. */
const maxJwtLength = 8_192;

/**
 * Takes the token out of an `authorization` header (RFC 6750, section 2.1; the scheme's case does not matter, RFC 9110,
 * section 11.1). Throws `CREDENTIAL_MISSING` without a header and `CREDENTIAL_INVALID` for another scheme or shape.
 */
export function bearerToken(authorization: string | undefined): string {
  if (authorization === undefined || authorization === "") throw credentialMissing();
  if (authorization.length > maxJwtLength + scheme.length) throw malformed();
  if (authorization.slice(0, scheme.length).toLowerCase() !== scheme) throw malformed();
  const token = authorization.slice(scheme.length).trim();
  if (token.length > maxSecretLength ? !isJwt(token) : !isToken.test(token)) throw malformed();
  return token;
}

/** Whether a credential has the form of a signed token (RFC 7515, section 7.1), whose header is a JSON object. */
export function isJwt(credential: string): boolean {
  return credential.startsWith("eyJ") && jwtForm.test(credential);
}

/** Three parts in base64url. The last one may be empty, as where nobody signed: whoever checks it says so. */
const jwtForm = /^[\w-]+\.[\w-]+\.[\w-]*$/;

/** `UNAUTHENTICATED` for a call without a credential. */
function credentialMissing(): OtaError {
  return new OtaError(
    "unauthenticated",
    "CREDENTIAL_MISSING",
    "this call needs a credential: send the header `authorization: Bearer <token>`",
  );
}

/** `UNAUTHENTICATED` for a credential that the service does not know. */
export function credentialInvalid(): OtaError {
  return new OtaError("unauthenticated", "CREDENTIAL_INVALID", "the credential is not one of this service");
}

/** `UNAUTHENTICATED` for a credential whose time is over. */
export function credentialExpired(expiredAt: Date): OtaError {
  const time = expiredAt.toISOString();
  return new OtaError("unauthenticated", "CREDENTIAL_EXPIRED", `the credential expired at ${time}`, {
    metadata: { expire_time: time },
  });
}

/** `UNAUTHENTICATED` for a credential that was revoked. */
export function credentialRevoked(): OtaError {
  return new OtaError("unauthenticated", "CREDENTIAL_REVOKED", "the credential was revoked");
}

/** `PERMISSION_DENIED` for the credential of a device that an operator blocked. */
export function deviceBlocked(): OtaError {
  return new OtaError("permission_denied", "DEVICE_BLOCKED", "an operator has blocked the device");
}

function malformed(): OtaError {
  return new OtaError(
    "unauthenticated",
    "CREDENTIAL_INVALID",
    "the authorization header must be `Bearer <token>`",
  );
}

const scheme = "bearer ";

/** The token68 characters of RFC 9110, section 11.2, and the rest of printable ASCII that a chosen token may hold. */
const isToken = /^[!-~]+$/;
