import { Counter, Gauge, Histogram, type Registry } from "prom-client";
import type { ErrorReason } from "../errors.ts";

/** Calls by method, door and outcome. Handles are cached by the pipeline: a lookup by labels costs more than the count. */
export class RpcMetrics {
  readonly #duration: Histogram<"method" | "door" | "code">;
  readonly #openStreams: Gauge<"method" | "door">;
  readonly #messages: Counter<"method" | "direction">;
  readonly #refusedConnections: Counter<"door" | "reason">;
  readonly #failures: Counter<"door" | "reason">;

  constructor(registry: Registry, prefix: string) {
    this.#refusedConnections = new Counter({
      name: `${prefix}connections_refused_total`,
      help: "Connections that were not taken, or cut before a call was let in.",
      labelNames: ["door", "reason"],
      registers: [registry],
    });
    this.#failures = new Counter({
      name: `${prefix}rpc_failures_total`,
      help: "Calls that failed or were refused, by the reason in the answer's ErrorInfo.",
      labelNames: ["door", "reason"],
      registers: [registry],
    });
    this.#duration = new Histogram({
      name: `${prefix}rpc_duration_seconds`,
      help: "Duration of finished calls; the count is the number of calls. Streams count when they end.",
      labelNames: ["method", "door", "code"],
      buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60],
      registers: [registry],
    });
    this.#openStreams = new Gauge({
      name: `${prefix}open_streams`,
      help: "Streaming calls that are open now.",
      labelNames: ["method", "door"],
      registers: [registry],
    });
    this.#messages = new Counter({
      name: `${prefix}stream_messages_total`,
      help: "Messages on streams; direction `in` is from the client.",
      labelNames: ["method", "direction"],
      registers: [registry],
    });
  }

  /** A handle that counts finished calls with one outcome, by their seconds. */
  duration(method: string, door: string, code: string): { observe(seconds: number): void } {
    return this.#duration.labels(method, door, code);
  }

  /** A handle for the open streams of a method. */
  openStreams(method: string, door: string): { inc(): void; dec(): void } {
    return this.#openStreams.labels(method, door);
  }

  /** Counts a call that failed or was refused, by the reason that the caller is told. */
  failed(door: string, reason: ErrorReason): void {
    this.#failures.inc({ door, reason });
  }

  /** Counts a connection that was not taken, or that was cut before a call was let in. */
  refusedConnection(door: string, reason: string): void {
    this.#refusedConnections.inc({ door, reason });
  }

  /** A handle that counts stream messages. */
  messages(method: string, direction: "in" | "out"): { inc(count: number): void } {
    return this.#messages.labels(method, direction);
  }
}
