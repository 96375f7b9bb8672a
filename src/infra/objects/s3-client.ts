import { Client } from "minio";
import { type CredentialSource, minioCredentials } from "./s3-credentials.ts";
import type { S3Transport } from "./s3-transport.ts";

/** Which bucket, and how it is entered. */
export interface S3Place {
  /** Scheme, host and port, as in `https://s3.eu-central-1.amazonaws.com`. */
  readonly endpoint: string;
  /** The same for whoever is given a URL; {@link endpoint} unless given. Its host must reach the store as it is: it is signed. */
  readonly publicEndpoint?: string | undefined;
  /** Must exist: making it is a decision on region, cost and access that belongs to its owner. */
  readonly bucket: string;
  readonly credentials: { readonly accessKey: string; readonly secretKey: string } | CredentialSource;
  /** Given rather than asked for, which saves a request and a permission. `us-east-1` unless given. */
  readonly region?: string | undefined;
  /** Whether the bucket stands in the path, true unless given, or before the host's name. Amazon's own endpoints: always the latter. */
  readonly pathStyle?: boolean | undefined;
  readonly encryption?: S3Encryption | undefined;
  /** A request without a byte in either direction for this long has failed, and so have credentials that do not come; 10 s unless given. */
  readonly idleTimeoutMs?: number | undefined;
}

/** The minio client and the sources of credentials have no time-out of their own. */
export const defaultIdleTimeoutMs = 10_000;

/** How the store encrypts what it keeps. */
export type S3Encryption =
  | { readonly kind: "sse-s3" }
  /** By a key of its key management; its default one unless given. */
  | { readonly kind: "sse-kms"; readonly keyId: string | undefined };

/** A minio client for that place. `transport`: of a client that makes requests; one that only signs URLs needs none. */
export function s3Client(
  endpoint: string,
  {
    credentials,
    region = "us-east-1",
    pathStyle = true,
    idleTimeoutMs = defaultIdleTimeoutMs,
  }: Omit<S3Place, "endpoint">,
  transport?: S3Transport,
): Client {
  const { hostname, port, protocol } = new URL(endpoint);
  const useSSL = protocol === "https:";
  const defaultPort = useSSL ? 443 : 80;
  return new Client({
    endPoint: hostname,
    port: port === "" ? defaultPort : Number(port),
    useSSL,
    ...(typeof credentials === "function"
      ? { credentialsProvider: minioCredentials(credentials, idleTimeoutMs) }
      : credentials),
    region,
    pathStyle,
    ...(transport && { transport: transport.asMinioTransport(), transportAgent: transport.agent }),
    // Its retries do not cover broken connections and write to the console.
    retryOptions: { disableRetry: true },
  });
}

/** The headers with which an object is written, so that the store encrypts it. */
export function encryptionHeaders(encryption: S3Encryption | undefined): Record<string, string> {
  switch (encryption?.kind) {
    case undefined:
      return {};
    case "sse-s3":
      return { "X-Amz-Server-Side-Encryption": "AES256" };
    case "sse-kms":
      return {
        "X-Amz-Server-Side-Encryption": "aws:kms",
        ...(encryption.keyId === undefined
          ? {}
          : { "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id": encryption.keyId }),
      };
  }
}
