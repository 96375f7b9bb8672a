import type { IncomingHttpHeaders } from "node:http";

/**
 * Makes a time-out in a request's headers that is longer than any call lasts one of a day, before a library reads it: Node's timers, by which
 * the libraries end calls, count to 24 days, so a deadline in a month would be over at once. Headers that are no time-outs stay for whoever
 * refuses them.
 */
export function boundTimeout(headers: IncomingHttpHeaders): void {
  const { "grpc-timeout": grpc, "connect-timeout-ms": connect } = headers;
  if (typeof grpc === "string" && grpcTimeoutMs(grpc) > maxTimeoutMs) headers["grpc-timeout"] = "24H";
  if (typeof connect === "string" && /^\d{1,10}$/.test(connect) && Number(connect) > maxTimeoutMs) {
    headers["connect-timeout-ms"] = String(maxTimeoutMs);
  }
}

/** The longest deadline that a client may set; what is longer counts as this. A watching console sets none. */
export const maxTimeoutMs = 24 * 60 * 60 * 1_000;

/** NaN if it is none (gRPC over HTTP/2, "Timeout"). */
function grpcTimeoutMs(text: string): number {
  const [, count, unit = ""] = /^(\d{1,8})([HMSmun])$/.exec(text) ?? [];
  return Number(count) * (unitMs[unit] ?? Number.NaN);
}

const unitMs: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1_000,
  m: 1,
  u: 1e-3,
  n: 1e-6,
};
