import { createHash, hash, randomBytes } from "node:crypto";
import { invalidArgument } from "../errors.ts";
import type { Clock } from "../infra/clock.ts";

/** What a secret opens: an operator's token, a device's credential or an enrolment key. */
export type SecretKind = "operator" | "device" | "enrolment";

/** A secret as its holder gets it, once, and as the service keeps it. */
export interface Secret {
  /** `ota_op_`, `ota_dev_` or `ota_enrol_` and 256 random bits in base64url. */
  readonly text: string;
  /** SHA-256 of the text. A fast hash is right here: nobody guesses 256 random bits, so there is nothing to slow down. */
  readonly hash: Buffer;
}

/**
 * The shortest secret that an operator may choose for automation; generated ones have 43 random characters. Below
 * this length an online guess at the rate that the doors allow is no longer hopeless.
 */
export const minPresetLength = 16;

/** Makes a secret from the system's random numbers. */
export function newSecret(kind: SecretKind): Secret {
  const text = prefixes[kind] + randomBytes(secretBytes).toString("base64url");
  return { text, hash: hashSecret(text) };
}

/** SHA-256 of a secret's text, as the database keeps it. */
export function hashSecret(text: string): Buffer {
  return createHash("sha256").update(text, "utf8").digest();
}

/** The same SHA-256 as a string of 32 one-byte characters, for use as a key in memory (0.25 us). */
export function secretKey(text: string): string {
  return hash("sha256", text, "binary");
}

/** A stored hash in the form of {@link secretKey}. */
export function secretKeyOf(secretHash: Uint8Array): string {
  return Buffer.from(secretHash).toString("latin1");
}

/** Which kind of secret a text is by its prefix, or undefined for one that an operator chose. */
export function secretKindOf(text: string): SecretKind | undefined {
  for (const kind of ["operator", "device", "enrolment"] as const) {
    if (text.startsWith(prefixes[kind])) return kind;
  }
  return undefined;
}

/** Refuses, with `INVALID_REQUEST`, an expiry that has already passed; undefined means never and is fine. */
export function requireFuture(expiresAt: Date | undefined, clock: Clock): void {
  if (expiresAt !== undefined && expiresAt <= clock.now()) {
    throw invalidArgument("expire_time", "must lie in the future");
  }
}

const prefixes: Readonly<Record<SecretKind, string>> = {
  operator: "ota_op_",
  device: "ota_dev_",
  enrolment: "ota_enrol_",
};

const secretBytes = 32;
