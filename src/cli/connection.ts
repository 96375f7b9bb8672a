import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { type ChannelCredentials, credentials } from "@grpc/grpc-js";
import { isLoopback } from "../loopback.ts";
import { CliError, exitCodes } from "./failure.ts";

/** The options that say which service to reach, and how; every command has them. */
export interface ConnectionOptions {
  readonly server: string;
  /** PEM file of the authorities that may vouch for the service; those that Node.js knows without it. */
  readonly ca?: string;
  /** Whether a service on another machine may be reached in clear. */
  readonly insecure?: boolean;
}

/** PEM files of a certificate (with those between it and its authority) and its key, to show to the service. */
export interface OwnCertificate {
  readonly cert?: string;
  readonly key?: string;
}

/** Where a service is, and how to talk to it. */
export interface Connection {
  /** Host and port of its gRPC door. */
  readonly address: string;
  readonly channelCredentials: ChannelCredentials;
}

/**
 * Reads the options. Another machine is reached by TLS alone unless the user says `--insecure`: tokens, keys and offers would go
 * over the network for everybody to read and change. Throws a {@link CliError} if they do not fit together.
 */
export async function connectionTo(
  { server, ca, insecure = false }: ConnectionOptions,
  own: OwnCertificate = {},
): Promise<Connection> {
  const { address, host, tls } = parseServer(server);
  if (tls) {
    if (insecure) throw new CliError(exitCodes.usage, `--insecure: ${server} is reached by TLS`);
    const roots = ca === undefined ? undefined : await authorities(ca);
    const { key, cert } = await readOwn(own);
    return { address, channelCredentials: credentials.createSsl(roots, key, cert) };
  }
  if (own.cert !== undefined || own.key !== undefined) {
    throw new CliError(
      exitCodes.usage,
      "--cert, --key: there is no TLS without https://",
      `Write https://${address}.`,
    );
  }
  if (ca !== undefined) {
    throw new CliError(
      exitCodes.usage,
      "--ca: there is no TLS without https://",
      `Write https://${address}.`,
    );
  }
  if (!insecure && !isLoopback(host)) {
    throw new CliError(
      exitCodes.usage,
      `--server: ${address} is another machine, and would be reached in clear`,
      `Write https://${address}, with --ca if its certificate is your own; --insecure if everybody on the way may read and change what is said.`,
    );
  }
  return { address, channelCredentials: credentials.createInsecure() };
}

/** `host:port`, or `https://host:port` for TLS. The port defaults to 50051. */
export function parseServer(text: string): { address: string; host: string; tls: boolean } {
  const match = /^(?:(https?):\/\/)?(\[[0-9a-fA-F:.]+\]|[^\s/:[\]]+)(?::(\d{1,5}))?\/?$/.exec(text);
  const [, scheme, host, portText] = match ?? [];
  const port = Number(portText ?? DEFAULT_PORT);
  if (host === undefined || port < 1 || port > 65_535) {
    throw new CliError(exitCodes.usage, `--server: "${text}" is not host:port or https://host:port`);
  }
  return { address: `${host}:${port}`, host, tls: scheme === "https" };
}

const DEFAULT_PORT = 50_051;

/** A file that holds no certificate would leave a service that nobody vouches for, found out with the first call. */
async function authorities(file: string): Promise<Buffer> {
  const pem = await readFile(file);
  try {
    new X509Certificate(pem);
  } catch {
    throw new CliError(exitCodes.usage, `--ca: ${file} holds no certificate (PEM)`);
  }
  return pem;
}

async function readOwn({ cert: certFile, key: keyFile }: OwnCertificate) {
  if (certFile === undefined && keyFile === undefined) return {};
  if (certFile === undefined || keyFile === undefined)
    throw new CliError(exitCodes.usage, "--cert, --key: a certificate and its key come together");
  const [cert, key] = [await readFile(certFile), await readFile(keyFile)];
  try {
    if (new X509Certificate(cert).checkPrivateKey(createPrivateKey(key))) return { cert, key };
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new CliError(exitCodes.usage, `--cert, --key: ${certFile} or ${keyFile} cannot be read: ${why}`);
  }
  throw new CliError(exitCodes.usage, `--key: ${keyFile} is not the key of the certificate in ${certFile}`);
}
