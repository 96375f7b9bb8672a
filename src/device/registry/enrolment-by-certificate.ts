import {
  type ClientCertificate,
  callersDiffer,
  certificateInvalid,
  type ShownCertificate,
} from "../../call/client-certificate.ts";
import { invalidArgument } from "../../errors.ts";

/** What certificates are worth when devices enrol. */
export interface CertificateEnrolment {
  /** What of a device they name: who enrols has no id yet. */
  readonly device: "serial_number" | "id";
  /** Whether one stands for an enrolment key. */
  readonly enrol: "off" | "approval" | "on";
}

/** By what a device may enrol, and how. */
export interface Admittance {
  /** Null: by its certificate. */
  readonly keyId: string | null;
  /** Whether it is in quarantine until an operator approves it. */
  readonly requireApproval: boolean;
  /** Of the certificate that it showed. */
  readonly sha256: Buffer | undefined;
}

/**
 * The certificate with which a device enrols, if it has one. It is bound to the serial number that it names, with a key as
 * without. Throws `CALLERS_DIFFER` for another one; without a key `CERTIFICATE_INVALID` with why it does not count, or, if none can
 * stand for a key, `INVALID_REQUEST`.
 */
export function certificateFor(
  request: {
    readonly certificate?: ShownCertificate | undefined;
    readonly enrolmentKey: string;
    readonly serialNumber: string;
  },
  rule: CertificateEnrolment | undefined,
): ClientCertificate | undefined {
  const { certificate: shown, enrolmentKey, serialNumber } = request;
  const certificate = shown === undefined || "refused" in shown ? undefined : shown;
  const isNamed = rule?.device === "serial_number" && certificate !== undefined;
  if (isNamed && certificate.name !== serialNumber) throw callersDiffer();
  if (enrolmentKey !== "") return certificate;
  if (rule === undefined || rule.enrol === "off" || shown === undefined)
    throw invalidArgument("enrolment_key", "is required");
  if ("refused" in shown) throw certificateInvalid(shown.refused);
  return shown;
}
