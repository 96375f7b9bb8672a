import { constants, type ServerHttp2Session } from "node:http2";
import type { Clock } from "../../infra/clock.ts";

/** What is known of a connection whose pings are counted. */
export interface PingParts {
  readonly clock: Clock;
  /** How often a client may ask by a ping whether the connection lives, in milliseconds. */
  readonly everyMs: number;
}

/**
 * Ends a connection whose client pings it more often than it may, with GOAWAY, ENHANCE_YOUR_CALM and `too_many_pings`, by which clients
 * of gRPC know to ping half as often (gRFC A8 and A9). Each ping wakes the service and is answered; a fleet that pings every second
 * costs as much as its heartbeats. It is not held against the address: many devices behind one may be set so. Pings by which a reader measures its line (BDP) follow what it is sent, and do not count.
 */
export function watchPings(session: ServerHttp2Session, { clock, everyMs }: PingParts): void {
  let level = 0;
  let atMs = clock.monotonicMs();
  let written = 0;
  /** Acknowledgements that may have been written since then. */
  let owed = 0;
  session.on("ping", () => {
    if (session.destroyed) return;
    const nowMs = clock.monotonicMs();
    const { bytesWritten } = session.socket;
    const more = bytesWritten - written;
    const isAnswered = more > owed * acknowledgementBytes;
    owed = more === 0 ? owed + 1 : 1;
    written = bytesWritten;
    level = Math.max(0, level - (nowMs - atMs) / everyMs);
    atMs = nowMs;
    if (isAnswered) return;
    level += 1;
    if (level <= pingsAtOnce) return;
    session.goaway(constants.NGHTTP2_ENHANCE_YOUR_CALM, 0, Buffer.from("too_many_pings"));
    session.destroy(undefined, constants.NGHTTP2_ENHANCE_YOUR_CALM);
  });
}

/** Of a ping (RFC 9113, section 6.7); the least answer of a stream is hardly longer. TLS's own bytes are not counted. */
const acknowledgementBytes = 17;

/** Clients ping when they wake up, change networks or open a call. */
const pingsAtOnce = 16;
