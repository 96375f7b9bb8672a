import { constants, createPrivateKey, X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import {
  createSecureContext,
  type SecureContextOptions,
  type SecureVersion,
  type Server,
  type TlsOptions,
} from "node:tls";
import { Round } from "../../infra/background/round.ts";
import type { Clock } from "../../infra/clock.ts";
import type { Logger } from "../../infra/logger.ts";

/** Where the certificate of the ports is, and how TLS is spoken with it. */
export interface PortTlsSettings {
  /** PEM: the port's certificate, then those between it and an authority that clients know. */
  readonly certFile: string;
  /** PEM, without a passphrase. */
  readonly keyFile: string;
  readonly minVersion: SecureVersion;
  /** As OpenSSL names them, the preferred ones first. */
  readonly ciphers: string;
  /** How often the files are looked at, in milliseconds. */
  readonly reloadMs: number;
}

/** What {@link PortTls} is made of. */
export interface PortTlsParts {
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * TLS of the ports. A round reads the files again and again, and when they have changed, every port speaks with the new
 * certificate from its next connection on; those that are open stay as they are. Files that cannot be used, such as a new
 * certificate whose key is still to come, change nothing: the round fails, and tries again.
 */
export class PortTls {
  /** Not begun yet. */
  readonly round: Round;
  readonly #settings: PortTlsSettings;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #servers = new Set<Server>();
  #loaded: Loaded;
  /** When was told last that the certificate ends soon, by the monotonic clock. */
  #warnedAtMs = Number.NEGATIVE_INFINITY;

  private constructor(settings: PortTlsSettings, loaded: Loaded, { clock, logger }: PortTlsParts) {
    this.#settings = settings;
    this.#loaded = loaded;
    this.#clock = clock;
    this.#logger = logger;
    this.round = new Round({
      name: "certificate",
      everyMs: settings.reloadMs,
      work: () => this.reload(),
      clock,
      logger,
    });
    this.#warnOfEnd();
  }

  /** Reads the files; rejects, with the file's name, if they cannot be used. */
  static async open(settings: PortTlsSettings, parts: PortTlsParts): Promise<PortTls> {
    return new PortTls(settings, await load(settings), parts);
  }

  /** With which a server is made that is to {@link keep} up. */
  get options(): TlsOptions {
    return this.#loaded.options;
  }

  /** When the certificate ends. */
  get expiresAt(): Date {
    return this.#loaded.expiresAt;
  }

  /** Gives a server each new certificate, until it closes. */
  keep(server: Server): void {
    this.#servers.add(server);
    server.once("close", () => this.#servers.delete(server));
  }

  /** Takes what is new in the files. Rejects if it cannot be used; what was there before stays. */
  async reload(): Promise<void> {
    const next = await load(this.#settings);
    if (!next.pem.equals(this.#loaded.pem)) {
      const now = this.#clock.now();
      if (next.expiresAt <= now && this.#loaded.expiresAt > now)
        throw new Error(`${this.#settings.certFile}: ended ${next.expiresAt.toISOString()}`);
      for (const server of this.#servers) server.setSecureContext(next.options);
      this.#loaded = next;
      this.#warnedAtMs = Number.NEGATIVE_INFINITY;
      this.#logger.info({ expires: next.expiresAt }, "the ports have a new certificate");
    }
    this.#warnOfEnd();
  }

  #warnOfEnd(): void {
    const { expiresAt } = this.#loaded;
    const nowMs = this.#clock.monotonicMs();
    if (expiresAt.getTime() - this.#clock.now().getTime() > endsSoonMs) return;
    if (nowMs - this.#warnedAtMs < warnEveryMs) return;
    this.#warnedAtMs = nowMs;
    this.#logger.warn({ expires: expiresAt }, "the certificate of the ports ends soon, or has ended");
  }
}

/** What was read, and found to be usable. */
interface Loaded {
  /** All files, as they were. */
  readonly pem: Buffer;
  readonly options: SecureContextOptions;
  readonly expiresAt: Date;
}

/** Automatic renewals come 30 days before the end: at half of that something is wrong with them. */
const endsSoonMs = 14 * 86_400_000;

const warnEveryMs = 86_400_000;

async function load({ certFile, keyFile, minVersion, ciphers }: PortTlsSettings): Promise<Loaded> {
  const cert = await readFile(certFile);
  const key = await readFile(keyFile);
  const certificate = usable(certFile, () => new X509Certificate(cert));
  const privateKey = usable(keyFile, () => createPrivateKey(key));
  if (!certificate.checkPrivateKey(privateKey))
    throw new Error(`${keyFile}: is not the key of the certificate in ${certFile}`);
  const options: SecureContextOptions = {
    cert,
    key,
    minVersion,
    ciphers,
    honorCipherOrder: true,
    // No client needs it, and each one costs a key exchange (CVE-2011-1473).
    secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
  };
  // The rest of the chain, and what OpenSSL thinks of key and digest.
  usable(certFile, () => createSecureContext(options));
  return { pem: Buffer.concat([cert, key]), options, expiresAt: certificate.validToDate };
}

function usable<T>(file: string, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`${file}: cannot be used: ${why}`, { cause });
  }
}
