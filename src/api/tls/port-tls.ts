import { constants, createPrivateKey, X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import {
  createSecureContext,
  type SecureContextOptions,
  type SecureVersion,
  type Server,
  type TLSSocket,
  type TlsOptions,
} from "node:tls";
import { isDeepStrictEqual } from "node:util";
import type { ShownCertificate } from "../../call/client-certificate.ts";
import { Round } from "../../infra/background/round.ts";
import type { Clock } from "../../infra/clock.ts";
import type { Logger } from "../../infra/logger.ts";
import type { NameRule, ReadCertificate } from "./client-certificates.ts";

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
  /** Undefined: nobody is asked for a certificate. */
  readonly clients?: ClientCertificateSettings | undefined;
}

/** Which certificates of clients count. */
interface ClientCertificateSettings extends NameRule {
  /** PEM: the authorities of the devices. */
  readonly caFile: string;
  /** PEM: the revocation lists of all authorities of a chain; without it nothing is revoked. */
  readonly crlFile: string | undefined;
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
  /** Connections whose clients showed a certificate that counts. */
  readonly #certified = new Map<TLSSocket, ReadCertificate>();
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
    return new PortTls(settings, await load(settings, await readFiles(settings)), parts);
  }

  /** With which a server is made that is to {@link keep} up. */
  get options(): TlsOptions {
    const { options, clients } = this.#loaded;
    // Asked for, and not insisted on: whoever has none comes with a token, and whose does not count hears why.
    return clients === undefined ? options : { ...options, requestCert: true, rejectUnauthorized: false };
  }

  /** When the first of the revocation lists ends, and with it all certificates of devices; undefined if none does. */
  get revocationsExpireAt(): Date | undefined {
    return this.#loaded.clients?.nextUpdate;
  }

  /** When the certificate ends. */
  get expiresAt(): Date {
    return this.#loaded.expiresAt;
  }

  /** Gives a server each new certificate, until it closes. */
  keep(server: Server): void {
    this.#servers.add(server);
    server.once("close", () => this.#servers.delete(server));
    server.prependListener("secureConnection", (socket) => this.#met(socket));
  }

  /** Takes what is new in the files. Rejects if it cannot be used; what was there before stays. */
  async reload(): Promise<void> {
    const files = await readFiles(this.#settings);
    // To parse what is there already would hold up every call: a second, of a long revocation list.
    if (!isDeepStrictEqual(files, this.#loaded.files)) {
      const next = await load(this.#settings, files);
      const now = this.#clock.now();
      if (next.expiresAt <= now && this.#loaded.expiresAt > now)
        throw new Error(`${this.#settings.certFile}: ended ${next.expiresAt.toISOString()}`);
      for (const server of this.#servers) server.setSecureContext(next.options);
      const authoritiesChanged = next.clients?.ca !== this.#loaded.clients?.ca;
      this.#loaded = next;
      if (authoritiesChanged) for (const socket of this.#certified.keys()) socket.destroy();
      this.#warnedAtMs = Number.NEGATIVE_INFINITY;
      this.#logger.info({ expires: next.expiresAt }, "the ports have new certificates");
    }
    this.#cutRefused();
    this.#warnOfEnd();
  }

  #met(socket: TLSSocket): void {
    const shown = this.#loaded.clients?.shownBy(socket);
    if (shown === undefined) return;
    (socket as MarkedSocket)[shownCertificate] = shown;
    if ("refused" in shown) return;
    this.#certified.set(socket, shown);
    socket.once("close", () => this.#certified.delete(socket));
  }

  /** What was opened with a certificate that has ended or was revoked since. */
  #cutRefused(): void {
    const now = this.#clock.now();
    const revoked = this.#loaded.clients?.revoked;
    for (const [socket, { expiresAt, revokedAs }] of this.#certified)
      if (expiresAt <= now || revoked?.has(revokedAs) === true) socket.destroy();
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

/** What the client at the other end of a connection showed; undefined if nothing, or if nobody asked. */
export function certificateOf(socket: object | undefined): ShownCertificate | undefined {
  return (socket as MarkedSocket | undefined)?.[shownCertificate];
}

/** A mark and no map: HTTP/2 shows its sockets only behind proxies, which are other objects. */
const shownCertificate = Symbol("shown certificate");

type MarkedSocket = { [shownCertificate]?: ShownCertificate };

/** What the files hold. */
interface Files {
  readonly cert: Buffer;
  readonly key: Buffer;
  readonly ca: Buffer | undefined;
  readonly crl: Buffer | undefined;
}

/** What was read, and found to be usable. */
interface Loaded {
  readonly files: Files;
  readonly options: SecureContextOptions;
  readonly expiresAt: Date;
  readonly clients: LoadedClients | undefined;
}

interface LoadedClients {
  readonly ca: string;
  readonly lists: readonly string[];
  readonly revoked: ReadonlySet<string>;
  readonly nextUpdate: Date | undefined;
  readonly shownBy: (socket: TLSSocket) => ReadCertificate | { readonly refused: string } | undefined;
}

/** Automatic renewals come 30 days before the end: at half of that something is wrong with them. */
const endsSoonMs = 14 * 86_400_000;

const warnEveryMs = 86_400_000;

async function readFiles({ certFile, keyFile, clients }: PortTlsSettings): Promise<Files> {
  return {
    cert: await readFile(certFile),
    key: await readFile(keyFile),
    ca: clients && (await readFile(clients.caFile)),
    crl: clients?.crlFile === undefined ? undefined : await readFile(clients.crlFile),
  };
}

async function load(settings: PortTlsSettings, files: Files): Promise<Loaded> {
  const { certFile, keyFile, minVersion, ciphers } = settings;
  const { cert, key } = files;
  const certificate = usable(certFile, () => new X509Certificate(cert));
  const privateKey = usable(keyFile, () => createPrivateKey(key));
  if (!certificate.checkPrivateKey(privateKey))
    throw new Error(`${keyFile}: is not the key of the certificate in ${certFile}`);
  const clients = settings.clients && (await loadClients(settings.clients, files));
  const options: SecureContextOptions = {
    ...(clients && { ca: clients.ca }),
    ...(clients && clients.lists.length > 0 && { crl: [...clients.lists] }),
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
  return { files, options, expiresAt: certificate.validToDate, clients };
}

async function loadClients(
  { caFile, crlFile, from, prefix }: ClientCertificateSettings,
  files: Files,
): Promise<LoadedClients> {
  // It takes a tenth of a second to load, and most services do without.
  const { readRevocations, shownBy } = await import("./client-certificates.ts");
  const ca = String(files.ca ?? "");
  usable(caFile, () => new X509Certificate(ca));
  // Node.js reads the first list of a text alone.
  const lists = files.crl === undefined ? [] : String(files.crl).split(/(?=-----BEGIN X509 CRL-----)/);
  const revocations = usable(crlFile ?? "", () => {
    createSecureContext({ crl: lists });
    return readRevocations(lists);
  });
  return { ca, lists, ...revocations, shownBy: (socket) => shownBy(socket, { from, prefix }) };
}

function usable<T>(file: string, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`${file}: cannot be used: ${why}`, { cause });
  }
}
