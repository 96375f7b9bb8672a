// The library below makes its parts by decorators, which need this.
import "reflect-metadata";
import type { webcrypto } from "node:crypto";
import {
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  Extension,
  type JsonGeneralNames,
  type JsonName,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  type X509Certificate,
  X509CertificateGenerator,
  X509CrlGenerator,
} from "@peculiar/x509";

/** What a certificate is to say. */
export interface CertificateContent {
  readonly subject: JsonName;
  readonly names?: JsonGeneralNames;
  readonly notBefore?: Date;
  readonly notAfter?: Date;
  /** What it is for; by default clients. */
  readonly usage?: "clientAuth" | "serverAuth";
  /** What else it says, by object identifier. */
  readonly extensions?: Readonly<Record<string, Uint8Array<ArrayBuffer>>>;
}

/** A certificate and its key, PEM, and the authorities between it and the root. */
export interface KeyPair {
  readonly certificate: string;
  readonly key: string;
  readonly serialNumber: string;
}

/** An authority of a test, as a device maker has one. */
export class TestAuthority {
  readonly #keys: webcrypto.CryptoKeyPair;
  readonly #certificate: X509Certificate;
  readonly #above: TestAuthority | undefined;

  private constructor(keys: webcrypto.CryptoKeyPair, certificate: X509Certificate, above?: TestAuthority) {
    this.#keys = keys;
    this.#certificate = certificate;
    this.#above = above;
  }

  /** A root, or what one above vouches for, if need be for servers alone. */
  static async create(
    name: string,
    { above, usage }: { readonly above?: TestAuthority; readonly usage?: "serverAuth" } = {},
  ): Promise<TestAuthority> {
    const keys = await newKeys();
    const content = {
      ...validity({}),
      signingAlgorithm: algorithm,
      extensions: [
        new BasicConstraintsExtension(true, undefined, true),
        new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
        ...(usage === undefined ? [] : [new ExtendedKeyUsageExtension([ExtendedKeyUsage[usage]])]),
      ],
    };
    const subject = [{ CN: [name] }];
    const certificate =
      above === undefined
        ? await X509CertificateGenerator.createSelfSigned({ ...content, name: subject, keys })
        : await X509CertificateGenerator.create({
            ...content,
            subject,
            issuer: above.#certificate.subject,
            publicKey: keys.publicKey,
            signingKey: above.#keys.privateKey,
          });
    return new TestAuthority(keys, certificate, above);
  }

  /** Its certificate. */
  get pem(): string {
    return `${this.#certificate.toString("pem")}\n`;
  }

  async issue(content: CertificateContent): Promise<KeyPair> {
    const keys = await newKeys();
    const { subject, names, usage = "clientAuth", extensions = {} } = content;
    const certificate = await X509CertificateGenerator.create({
      ...validity(content),
      subject,
      issuer: this.#certificate.subject,
      publicKey: keys.publicKey,
      signingKey: this.#keys.privateKey,
      signingAlgorithm: algorithm,
      extensions: [
        new ExtendedKeyUsageExtension([ExtendedKeyUsage[usage]]),
        ...(names === undefined ? [] : [new SubjectAlternativeNameExtension(names)]),
        ...Object.entries(extensions).map(([type, value]) => new Extension(type, false, value)),
      ],
    });
    const pkcs8 = await crypto.subtle.exportKey("pkcs8", keys.privateKey);
    return {
      certificate: `${certificate.toString("pem")}\n${this.#above === undefined ? "" : this.pem}`,
      key: PemConverter.encode(pkcs8, PemConverter.PrivateKeyTag),
      serialNumber: certificate.serialNumber,
    };
  }

  /** Its revocation list, until `nextUpdate`. */
  async revocations(
    revoked: readonly Pick<KeyPair, "serialNumber">[],
    nextUpdate = new Date(Date.now() + 86_400_000),
  ): Promise<string> {
    const now = new Date();
    const list = await X509CrlGenerator.create({
      issuer: this.#certificate.subject,
      thisUpdate: new Date(now.getTime() - 3_600_000),
      nextUpdate,
      entries: revoked.map(({ serialNumber }) => ({ serialNumber, revocationDate: now })),
      signingAlgorithm: algorithm,
      signingKey: this.#keys.privateKey,
    });
    return `${PemConverter.encode(list.rawData, "X509 CRL")}\n`;
  }
}

const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };

function newKeys(): Promise<webcrypto.CryptoKeyPair> {
  return crypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
}

function validity({ notBefore, notAfter }: Pick<CertificateContent, "notBefore" | "notAfter">) {
  return {
    notBefore: notBefore ?? new Date(Date.now() - 3_600_000),
    notAfter: notAfter ?? new Date(Date.now() + 86_400_000),
  };
}
