import { AsyncLocalStorage } from "node:async_hooks";
import http from "node:http";
import https from "node:https";
import type { ClientOptions } from "minio";
import { hostLookup } from "../host-lookup.ts";

/** How much longer the store may be silent while it puts the parts of a large object together. */
const COMPLETION_FACTOR = 6;

/** How much of the time-out may pass until somebody says where the store is: less, so that it is known that this failed. */
const LOOKUP_SHARE = 0.8;

/** The store said nothing for too long. Another try would wait as long again. */
export class SilentStore extends Error {}

/** Connections to the store; more downloads than this wait for one another. */
const MAX_SOCKETS = 256;

/**
 * The HTTP under a minio client: time-outs, bounded connections, and the abort signal of the operation that a request
 * belongs to, which the client's methods have no parameter for.
 */
export class S3Transport {
  readonly agent: http.Agent;
  readonly #signals = new AsyncLocalStorage<AbortSignal | undefined>();
  readonly #module: typeof http | typeof https;
  readonly #idleTimeoutMs: number;

  constructor(useTls: boolean, idleTimeoutMs: number) {
    const lookup = hostLookup({ limitMs: idleTimeoutMs * LOOKUP_SHARE });
    const options = { keepAlive: true, maxSockets: MAX_SOCKETS, lookup };
    this.agent = useTls ? new https.Agent(options) : new http.Agent(options);
    this.#module = useTls ? https : http;
    this.#idleTimeoutMs = idleTimeoutMs;
  }

  /** Runs client calls whose requests end when the signal aborts, bodies that are still being read included. */
  run<T>(signal: AbortSignal | undefined, calls: () => Promise<T>): Promise<T> {
    signal?.throwIfAborted();
    return this.#signals.run(signal, calls);
  }

  /** For the minio client's `transport` option. */
  asMinioTransport(): NonNullable<ClientOptions["transport"]> {
    const request = (
      options: https.RequestOptions,
      onResponse?: (response: http.IncomingMessage) => void,
    ) => {
      const signal = this.#signals.getStore();
      const timeout = this.#idleTimeoutMs * (isCompletion(options) ? COMPLETION_FACTOR : 1);
      const sent = this.#module.request(
        { ...options, timeout, ...(signal === undefined ? {} : { signal }) },
        onResponse,
      );
      sent.on("timeout", () => {
        sent.destroy(new SilentStore(`the object store was silent for ${timeout} ms`));
      });
      return sent;
    };
    // The client calls `request(options, callback)` only; the type also has the form with a URL.
    return { request: request as typeof http.request };
  }

  /** Closes idle connections. */
  close(): void {
    this.agent.destroy();
  }
}

/** CompleteMultipartUpload: a POST with the upload's id and no part's number. */
function isCompletion({ method, path }: https.RequestOptions): boolean {
  return method === "POST" && path?.includes("uploadId=") === true;
}
