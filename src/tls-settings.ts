import { resolve } from "node:path";
import { createSecureContext } from "node:tls";
import {
  choice,
  flag,
  integer,
  type Setting,
  SettingFault,
  text,
  textOr,
  type ValuesOf,
} from "./settings.ts";

/** Mozilla's "intermediate" list, with its names of OpenSSL: forward secrecy and authenticated encryption alone. */
const forwardSecret = [
  "TLS_AES_128_GCM_SHA256",
  "TLS_AES_256_GCM_SHA384",
  "TLS_CHACHA20_POLY1305_SHA256",
  "ECDHE-ECDSA-AES128-GCM-SHA256",
  "ECDHE-RSA-AES128-GCM-SHA256",
  "ECDHE-ECDSA-AES256-GCM-SHA384",
  "ECDHE-RSA-AES256-GCM-SHA384",
  "ECDHE-ECDSA-CHACHA20-POLY1305",
  "ECDHE-RSA-CHACHA20-POLY1305",
].join(":");

/** The settings of TLS: the certificate of the ports, and what is spoken with it. */
export const tlsSettings = {
  tlsCertFile: text(
    "TLS_CERT_FILE",
    "PEM file with the certificate chain of both ports; without it they are in clear.",
  ),
  tlsKeyFile: text("TLS_KEY_FILE", "PEM file with the private key of that certificate."),
  tlsHttp: flag(
    "TLS_HTTP",
    true,
    "Whether a certificate is for the HTTP port too; `false` where a proxy before that port terminates TLS.",
  ),
  tlsMinVersion: choice(
    "TLS_MIN_VERSION",
    ["1.2", "1.3"],
    "1.2",
    "The oldest version of TLS that is spoken.",
  ),
  tlsCiphers: ciphers(
    "TLS_CIPHERS",
    "The cipher suites, as OpenSSL names them, separated by colons, the preferred ones first.",
  ),
  tlsReloadSeconds: integer(
    "TLS_RELOAD_SECONDS",
    60,
    [1, 86_400],
    "How often is looked whether certificate and key were renewed.",
  ),
  hstsSeconds: integer(
    "HSTS_SECONDS",
    31_536_000,
    [0, 63_072_000],
    "For how long browsers that saw the HTTP port by TLS reach this host by TLS alone, on all its ports; 0 tells them nothing.",
  ),
  tlsClientCa: text(
    "TLS_CLIENT_CA_FILE",
    "PEM file with the authorities whose certificates are devices' credentials; without it nobody is asked for a certificate.",
  ),
  tlsClientCrl: text(
    "TLS_CLIENT_CRL_FILE",
    "PEM file with the revocation lists of these authorities, one of each in a chain; when one of them ends, no certificate counts.",
  ),
  tlsClientName: choice(
    "TLS_CLIENT_NAME",
    ["cn", "serial_number", "san_dns", "san_uri"],
    "cn",
    "What in such a certificate is the device's name: the subject's `cn` or `serial_number` (IEEE 802.1AR), or an alternative name, `san_dns` or `san_uri`.",
  ),
  tlsClientNamePrefix: textOr(
    "TLS_CLIENT_NAME_PREFIX",
    "",
    "What stands before that name, for example `urn:device:`; other names are none.",
  ),
  tlsClientDevice: choice(
    "TLS_CLIENT_DEVICE",
    ["serial_number", "id"],
    "serial_number",
    "What of a device that name is: its serial number, or the id that the service gave it.",
  ),
  tlsClientEnrol: choice(
    "TLS_CLIENT_ENROL",
    ["off", "approval", "on"],
    "off",
    "Whether a certificate lets its serial number enrol without an enrolment key: not at all, in quarantine until an operator approves it, or at once.",
  ),
};

/** Their values. */
export type TlsValues = ValuesOf<typeof tlsSettings>;

/** What the ports need; undefined: they are in clear. */
export function tlsOf(values: TlsValues, faults: string[]) {
  const { tlsCertFile, tlsKeyFile, tlsClientCa, tlsClientCrl } = values;
  if (tlsClientCa !== undefined && tlsCertFile === undefined)
    faults.push(`${tlsSettings.tlsClientCa.name}: needs ${tlsSettings.tlsCertFile.name}`);
  if (tlsClientCrl !== undefined && tlsClientCa === undefined)
    faults.push(`${tlsSettings.tlsClientCrl.name}: needs ${tlsSettings.tlsClientCa.name}`);
  if (tlsCertFile === undefined && tlsKeyFile === undefined) return undefined;
  if (tlsCertFile === undefined || tlsKeyFile === undefined) {
    const missing = tlsCertFile === undefined ? tlsSettings.tlsCertFile : tlsSettings.tlsKeyFile;
    faults.push(`${missing.name}: is missing; certificate and key come together`);
    return undefined;
  }
  if (values.tlsClientEnrol !== "off" && (tlsClientCa === undefined || values.tlsClientDevice === "id"))
    faults.push(
      `${tlsSettings.tlsClientEnrol.name}: needs ${tlsSettings.tlsClientCa.name} and certificates that name serial numbers`,
    );
  return {
    certFile: resolve(tlsCertFile),
    keyFile: resolve(tlsKeyFile),
    minVersion: `TLSv${values.tlsMinVersion}` as const,
    ciphers: values.tlsCiphers,
    reloadMs: values.tlsReloadSeconds * 1_000,
    /** Whether the HTTP port has it too. */
    http: values.tlsHttp,
    hstsSeconds: values.hstsSeconds,
    /** Undefined: nobody is asked for a certificate. */
    clients:
      tlsClientCa === undefined
        ? undefined
        : {
            caFile: resolve(tlsClientCa),
            crlFile: tlsClientCrl && resolve(tlsClientCrl),
            from: values.tlsClientName,
            prefix: values.tlsClientNamePrefix,
            device: values.tlsClientDevice,
            enrol: values.tlsClientEnrol,
          },
  };
}

/** What OpenSSL does not know would be found out with the first connection. */
function ciphers(name: string, meaning: string): Setting<string> {
  const parse = (value: string) => {
    try {
      createSecureContext({ ciphers: value });
      return value;
    } catch {
      throw new SettingFault("must be cipher suites that OpenSSL knows, separated by colons");
    }
  };
  return { ...textOr(name, forwardSecret, meaning), parse };
}
