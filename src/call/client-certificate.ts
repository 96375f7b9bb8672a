import { OtaError } from "../errors.ts";

/** A certificate that a client of TLS showed and has the key of, and that an authority of the service vouches for. */
export interface ClientCertificate {
  /** The device's name in it, as the settings say where that stands. */
  readonly name: string;
  /** SHA-256 of the whole certificate. */
  readonly sha256: Buffer;
  readonly issuedAt: Date;
  readonly expiresAt: Date;
}

/** What a client showed: a certificate that counts, or why it does not. */
export type ShownCertificate = ClientCertificate | { readonly refused: string };

/** Says which device a certificate is. */
export interface CertificateHolders<Holder> {
  /**
   * Throws (or rejects with) UNAUTHENTICATED if it is no device's, and as for a token if its device is blocked. `beforeLookUp`
   * runs before a device is looked for that is not in memory; what it throws is thrown instead.
   */
  identify(certificate: ClientCertificate, beforeLookUp?: () => void): Holder | Promise<Holder>;
}

/** `UNAUTHENTICATED` for a certificate that counts for nothing. */
export function certificateInvalid(why: string): OtaError {
  return new OtaError(
    "unauthenticated",
    "CERTIFICATE_INVALID",
    `the client's certificate is refused: ${why}`,
  );
}

/** `UNAUTHENTICATED` for a certificate that names no device in service. */
export function certificateUnknown(name: string): OtaError {
  return new OtaError(
    "unauthenticated",
    "CERTIFICATE_UNKNOWN",
    `no device in service is the ${JSON.stringify(name.slice(0, 128).toWellFormed())} of the certificate`,
  );
}

/** `PERMISSION_DENIED` for a call that says by its certificate to be one caller, and another one otherwise. */
export function callersDiffer(): OtaError {
  return new OtaError(
    "permission_denied",
    "CALLERS_DIFFER",
    "the certificate is another caller's than the rest of the call",
  );
}
