import { errors, type JWTPayload, jwtVerify } from "jose";
import { OtaError } from "../../errors.ts";
import type { PublicKey } from "./public-key.ts";

/** What is asked of every JWT that a device signs. */
export interface SignedTokenRules {
  /** What must stand in `aud`. */
  readonly audience: string;
  /** From `iat` to `exp` at most. */
  readonly maxSeconds: number;
  /** How far a device's clock may be off. */
  readonly toleranceSeconds: number;
}

/** What is asked of one. */
export interface ExpectedToken {
  /** What it is for, as its header says: one that is for something else does not pass. */
  readonly type: "ota-device+jwt" | "ota-device-key+jwt";
  readonly subject: string;
  /** The only key that counts, whatever the token names. */
  readonly publicKey: PublicKey;
  readonly rules: SignedTokenRules;
  readonly now: Date;
  /** The error for one that is refused, whenever that is. */
  readonly refused: (why: string) => OtaError;
  /** The error for one that this key has not signed, if it is another. */
  readonly unsigned?: () => OtaError;
}

/**
 * The claims of a JWT (RFC 7519, RFC 8725) that a device signed. The stored key alone says by which algorithm; nothing in the token's header can name
 * another. Rejects with what `refused` says, and with `TOKEN_TIME_WRONG` if it is right but for its times.
 */
export async function verifySignedToken(token: string, expected: ExpectedToken): Promise<VerifiedClaims> {
  const { type, subject, publicKey, rules, now, refused, unsigned } = expected;
  let claims: JWTPayload;
  try {
    const verified = await jwtVerify(token, publicKey.key, {
      algorithms: [...publicKey.algorithms],
      typ: type,
      audience: rules.audience,
      subject,
      clockTolerance: rules.toleranceSeconds,
      requiredClaims: ["sub", "aud", "iat", "exp"],
      currentDate: now,
    });
    claims = verified.payload;
  } catch (error) {
    if (error instanceof errors.JWTExpired) throw timeWrong(now, "has expired");
    if (
      error instanceof errors.JWTClaimValidationFailed &&
      error.claim === "nbf" &&
      error.reason === "check_failed"
    )
      throw timeWrong(now, "is not valid yet");
    // Claims are looked at only once the signature is right.
    if (unsigned !== undefined && !(error instanceof errors.JWTClaimValidationFailed)) throw unsigned();
    throw refused(error instanceof errors.JOSEError ? error.message : "its key cannot be used");
  }
  const { iat = Number.NaN, exp = Number.NaN } = claims;
  if (!Number.isFinite(iat) || !Number.isFinite(exp)) throw refused("its times are no numbers");
  if (iat > now.getTime() / 1_000 + rules.toleranceSeconds) throw timeWrong(now, "comes from the future");
  if (exp - iat > rules.maxSeconds)
    throw timeWrong(now, `is to hold for more than ${rules.maxSeconds} seconds`);
  return { ...claims, expiresMs: (exp + rules.toleranceSeconds) * 1_000 };
}

/** The claims of a JWT that is right. */
export interface VerifiedClaims extends JWTPayload {
  /** Until when it counts here, in milliseconds since 1970. */
  readonly expiresMs: number;
}

/** `UNAUTHENTICATED`, with the time for a device whose clock is wrong, or which has none. */
export function timeWrong(now: Date, why: string): OtaError {
  const time = now.toISOString();
  return new OtaError("unauthenticated", "TOKEN_TIME_WRONG", `the signed token ${why}; it is ${time} here`, {
    metadata: { server_time: time },
  });
}
