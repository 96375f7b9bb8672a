// The library below makes its parts by decorators, which need this.
import "reflect-metadata";
import type { X509Certificate as PeerCertificate } from "node:crypto";
import type { TLSSocket } from "node:tls";
import { SubjectAlternativeNameExtension, X509Certificate, X509Crl } from "@peculiar/x509";
import type { ClientCertificate } from "../../call/client-certificate.ts";

/** Where in a certificate the device's name stands. */
export interface NameRule {
  /** The subject's common name or serial number (IEEE 802.1AR), or a DNS name or URI of the subject's alternative names. */
  readonly from: "cn" | "serial_number" | "san_dns" | "san_uri";
  /** Before the name; what begins otherwise is none. */
  readonly prefix: string;
}

/** A certificate with what its authority's revocation list calls it. */
export interface ReadCertificate extends ClientCertificate {
  readonly revokedAs: string;
}

/**
 * What the client at the other end of a connection showed, if it showed a certificate. OpenSSL has checked it: chain, time,
 * usage and revocation. Two names are none: nobody could say which device it is.
 */
export function shownBy(
  socket: TLSSocket,
  rule: NameRule,
): ReadCertificate | { readonly refused: string } | undefined {
  const peer = socket.getPeerX509Certificate();
  if (peer === undefined) return undefined;
  if (!socket.authorized) return { refused: String(socket.authorizationError) };
  try {
    return readNamed(peer, rule);
  } catch {
    // OpenSSL lets pass what it does not look into, such as an extension that is not well formed.
    return { refused: "it cannot be read" };
  }
}

/** What revocation lists revoke, as {@link ReadCertificate.revokedAs} has it, and when the first of them ends. */
export function readRevocations(lists: readonly string[]): {
  readonly revoked: ReadonlySet<string>;
  readonly nextUpdate: Date | undefined;
} {
  const read = lists.map((pem) => new X509Crl(pem, ofAnyLength));
  const ends = read.flatMap(({ nextUpdate }) => (nextUpdate === undefined ? [] : [nextUpdate.getTime()]));
  return {
    revoked: new Set(
      read.flatMap(({ issuer, entries }) => entries.map(({ serialNumber }) => listed(issuer, serialNumber))),
    ),
    nextUpdate: ends.length === 0 ? undefined : new Date(Math.min(...ends)),
  };
}

function readNamed(
  peer: PeerCertificate,
  { from, prefix }: NameRule,
): ReadCertificate | { readonly refused: string } {
  const certificate = new X509Certificate(new Uint8Array(peer.raw));
  const names = valuesOf(certificate, from).filter((value) => value.startsWith(prefix));
  const [name] = names;
  if (name === undefined || names.length > 1)
    return { refused: `it has ${names.length} names of devices (${from}), and not one` };
  return {
    name: name.slice(prefix.length),
    sha256: Buffer.from(peer.fingerprint256.replaceAll(":", ""), "hex"),
    issuedAt: peer.validFromDate,
    expiresAt: peer.validToDate,
    revokedAs: listed(certificate.issuer, certificate.serialNumber),
  };
}

function valuesOf(certificate: X509Certificate, from: NameRule["from"]): string[] {
  if (from === "cn") return certificate.subjectName.getField("CN");
  if (from === "serial_number") return certificate.subjectName.getField(serialNumberAttribute);
  const type = from === "san_dns" ? "dns" : "url";
  const names = certificate.getExtension(SubjectAlternativeNameExtension)?.names.items ?? [];
  return names.filter((name) => name.type === type).map(({ value }) => value);
}

/** The library's own bounds, of some 3,000 entries, are for what strangers send; this is the operator's file. */
const ofAnyLength = {
  berOptions: { maxNodes: Number.MAX_SAFE_INTEGER, maxContentLength: Number.MAX_SAFE_INTEGER },
};

/** X.520, section 6.2.9. */
const serialNumberAttribute = "2.5.4.5";

function listed(issuer: string, serialNumber: string): string {
  return `${serialNumber.toLowerCase()} ${issuer}`;
}
