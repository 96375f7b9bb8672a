import { constants, type ServerHttp2Session, type ServerHttp2Stream } from "node:http2";
import type { Clock } from "../../infra/clock.ts";

interface WastedCallsParts {
  readonly clock: Clock;
  /** Is told before the connection is cut. */
  readonly flooded: () => void;
}

/**
 * Cuts an HTTP/2 connection whose client makes calls that cost work and bring nothing, at a rate that no client needs:
 * calls that it takes back at once (rapid reset, CVE-2023-44487), calls that cannot be served, such as of nothing that there is, and calls without a credential that is known. nghttp2 bounds resets as
 * well, 1,000 at once; this bound is lower, and `flooded` lets the port hold it against whoever connects again.
 */
export class WastedCalls {
  readonly #session: ServerHttp2Session;
  readonly #clock: Clock;
  readonly #flooded: () => void;
  #level = 0;
  #atMs: number;

  constructor(session: ServerHttp2Session, { clock, flooded }: WastedCallsParts) {
    this.#session = session;
    this.#clock = clock;
    this.#flooded = flooded;
    this.#atMs = clock.monotonicMs();
    session.on("stream", (stream: ServerHttp2Stream) => {
      stream.once("close", () => {
        // What has begun to be answered may well be let go: a watch, or a call that was refused.
        if (stream.aborted && !stream.headersSent) this.add();
      });
    });
  }

  /** Counts one more. */
  add(): void {
    const nowMs = this.#clock.monotonicMs();
    const leaked = ((nowMs - this.#atMs) / 1_000) * wastedPerSecond;
    this.#level = Math.max(0, this.#level - leaked) + 1;
    this.#atMs = nowMs;
    if (this.#level <= wastedAtOnce || this.#session.destroyed) return;
    this.#flooded();
    this.#session.destroy(undefined, constants.NGHTTP2_ENHANCE_YOUR_CALM);
  }
}

/** A gateway whose devices all go away takes back all the calls that it may have open, 128, some times over. */
const wastedAtOnce = 512;

/** Costs half a percent of a core. */
const wastedPerSecond = 100;
