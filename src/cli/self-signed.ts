// The library below makes its parts by decorators, which need this.
import "reflect-metadata";
import { isIP } from "node:net";
import { join } from "node:path";
import {
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509CertificateGenerator,
} from "@peculiar/x509";
import { CliError, exitCodes } from "./failure.ts";
import { writeNew } from "./new-file.ts";
import type { Cli } from "./session.ts";
import { renderFacts } from "./table.ts";

/** What `certificate self-signed` is told. */
export interface SelfSignedOptions {
  /** DNS names and IP addresses under which the service is reached. */
  readonly host: readonly string[];
  readonly days: number;
  /** The folder to write to. */
  readonly out: string;
  readonly json?: boolean;
}

/** Makes a key and a certificate that vouches for itself, and writes both. */
export async function makeSelfSigned(cli: Cli, options: SelfSignedOptions): Promise<void> {
  const { key, certificate, expires } = await selfSigned(options);
  const [keyFile, certificateFile] = [join(options.out, "key.pem"), join(options.out, "certificate.pem")];
  await writeNew(keyFile, key, 0o600);
  await writeNew(certificateFile, certificate, 0o644);
  if (options.json === true) {
    const answer = { certificate: certificateFile, privateKey: keyFile, expireTime: expires.toISOString() };
    cli.terminal.out(JSON.stringify(answer, undefined, 2));
    return;
  }
  cli.terminal.out(
    renderFacts(cli.terminal, [
      ["for", options.host.join(", ")],
      ["until", expires.toISOString()],
      ["private key", `${keyFile} (readable by you alone)`],
      ["certificate", certificateFile],
      [
        "service",
        `DEVICE_OTA_TLS_CERT_FILE=${certificateFile} DEVICE_OTA_TLS_KEY_FILE=${keyFile} device-ota serve`,
      ],
      [
        "clients",
        `device-ota --server https://${inUrl(options.host[0] ?? "")}:50051 --ca ${certificateFile} …`,
      ],
    ]),
  );
}

/** P-256, because that is what small devices can do fastest; the certificate is an authority for nothing but itself (RFC 5280). */
export async function selfSigned({ host, days }: Pick<SelfSignedOptions, "host" | "days">) {
  const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
  const keys = await crypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  // An hour for devices whose clocks are behind.
  const notBefore = new Date(Date.now() - 3_600_000);
  const expires = new Date(Date.now() + days * 86_400_000);
  const certificate = await X509CertificateGenerator.createSelfSigned({
    name: [{ CN: [host[0] ?? ""] }],
    notBefore,
    notAfter: expires,
    keys,
    signingAlgorithm: algorithm,
    extensions: [
      new SubjectAlternativeNameExtension(host.map(nameOf)),
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  const pkcs8 = await crypto.subtle.exportKey("pkcs8", keys.privateKey);
  return {
    key: `${PemConverter.encode(pkcs8, PemConverter.PrivateKeyTag)}\n`,
    certificate: `${certificate.toString("pem")}\n`,
    expires: certificate.notAfter,
  };
}

function nameOf(host: string): { type: "ip" | "dns"; value: string } {
  if (isIP(host) !== 0) return { type: "ip", value: host };
  if (host.length <= 253 && /^(?:\*\.)?[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*$/i.test(host))
    return { type: "dns", value: host };
  throw new CliError(exitCodes.usage, `--host: "${host}" is neither a DNS name nor an IP address`);
}

function inUrl(host: string): string {
  return host.includes(":") ? `[${host}]` : host;
}
