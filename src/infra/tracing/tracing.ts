import type { Logger } from "../logger.ts";

/** How the service is traced. */
export interface TracingSettings {
  /** Where OTLP over HTTP is spoken: traces go to `/v1/traces` below it. */
  readonly endpoint: string;
  /** The share of the traces that begin here which is recorded, of 1. */
  readonly share: number;
}

/** Follows calls through the service, for a collector of OpenTelemetry. */
export interface Tracing extends AsyncDisposable {
  /** Begins the span of a call: below the caller's, if there is one. */
  beginCall(name: string, door: string, parent: RemoteParent | undefined): CallTrace;
  /**
   * Runs work that belongs to the call which is being served, in a span of its own. Outside of a recorded call it only runs it.
   * Attributes must hold no values of callers.
   */
  within<T>(name: string, attributes: Readonly<Record<string, string>>, work: () => Promise<T>): Promise<T>;
}

/** The caller's own span. */
export interface RemoteParent {
  readonly traceId: string;
  readonly spanId: string;
  readonly isSampled: boolean;
}

/** One call on its way. */
export interface CallTrace {
  readonly traceId: string;
  /** Runs work of the call: what it begins belongs to the call. */
  run<T>(work: () => T): T;
  /** Ends the span, with who called, the code `ok` or that of the error, and its reason. */
  end(actor: string, code: string, reason?: string): void;
}

/** Begins to trace. The libraries for it are loaded here and not before: who does not trace does not pay. */
export async function openTracing(settings: TracingSettings, logger: Logger): Promise<Tracing> {
  const { OtlpTracing } = await import("./otlp-tracing.ts");
  return new OtlpTracing(settings, logger);
}
