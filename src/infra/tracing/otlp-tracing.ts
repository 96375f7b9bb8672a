import { AsyncLocalStorage } from "node:async_hooks";
import {
  type Context,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  TraceFlags,
  type Tracer,
  trace,
} from "@opentelemetry/api";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { detectResources, envDetector, resourceFromAttributes } from "@opentelemetry/resources";
import {
  AlwaysOnSampler,
  BatchSpanProcessor,
  ParentBasedSampler,
  type SpanExporter,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from "@opentelemetry/sdk-trace";
import { OtaError } from "../../errors.ts";
import type { Logger } from "../logger.ts";
import type { CallTrace, RemoteParent, Tracing, TracingSettings } from "./tracing.ts";

/**
 * Traces by OTLP over HTTP, in JSON. Spans wait in a bounded queue and go out in batches; what a collector that is slow or away
 * does not take is lost, and holds nothing up.
 */
export class OtlpTracing implements Tracing {
  readonly #provider: TracerProvider;
  readonly #tracer: Tracer;
  readonly #current = new AsyncLocalStorage<Span>();

  constructor({ endpoint, share }: TracingSettings, logger: Logger) {
    const exporter = new OTLPTraceExporter({
      url: new URL("v1/traces", endpoint.endsWith("/") ? endpoint : `${endpoint}/`).href,
      timeoutMillis: exportTimeoutMs,
    });
    const service = resourceFromAttributes({ "service.name": "device-ota" });
    this.#provider = new TracerProvider({
      resource: service.merge(detectResources({ detectors: [envDetector] })),
      sampler: new ParentBasedSampler({
        root: share >= 1 ? new AlwaysOnSampler() : new TraceIdRatioBasedSampler(share),
      }),
      spanLimits: { attributeValueLengthLimit: maxStatementLength },
      spanProcessors: [
        new BatchSpanProcessor({
          exporter: toldOf(exporter, logger),
          maxQueueSize: maxWaitingSpans,
          scheduledDelayMillis: batchDelayMs,
          exportTimeoutMillis: exportTimeoutMs,
        }),
      ],
    });
    this.#tracer = this.#provider.getTracer("device-ota");
  }

  beginCall(name: string, door: string, parent: RemoteParent | undefined): CallTrace {
    const options = { kind: SpanKind.SERVER, attributes: { "rpc.method": name, "device_ota.door": door } };
    const span = this.#tracer.startSpan(name, options, parentContext(parent));
    return {
      traceId: span.spanContext().traceId,
      run: (work) => this.#current.run(span, work),
      end: (actor, code, reason) => {
        span.setAttributes({ "enduser.id": actor, "device_ota.code": code });
        if (reason !== undefined) span.setAttribute("error.type", reason);
        if (isServiceFault(code)) span.setStatus({ code: SpanStatusCode.ERROR });
        span.end();
      },
    };
  }

  async within<T>(
    name: string,
    attributes: Readonly<Record<string, string>>,
    work: () => Promise<T>,
  ): Promise<T> {
    const parent = this.#current.getStore();
    if (parent === undefined || !parent.isRecording()) return await work();
    const context = trace.setSpan(ROOT_CONTEXT, parent);
    const span = this.#tracer.startSpan(name, { kind: SpanKind.CLIENT, attributes }, context);
    try {
      return await this.#current.run(span, work);
    } catch (error) {
      // The text of an error may hold values, its kind does not.
      span.setAttribute("error.type", kindOf(error));
      span.setStatus({ code: SpanStatusCode.ERROR });
      throw error;
    } finally {
      span.end();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#provider.shutdown().catch(() => undefined);
  }
}

/** Spans that wait for a batch: some seconds of a busy replica, a few MB. */
const maxWaitingSpans = 4_096;

const batchDelayMs = 1_000;

/** Also how long a stop waits for a collector that is away. */
const exportTimeoutMs = 3_000;

/** Longer statements are cut. */
const maxStatementLength = 4_096;

function parentContext(parent: RemoteParent | undefined): Context {
  if (parent === undefined) return ROOT_CONTEXT;
  const { traceId, spanId, isSampled } = parent;
  const traceFlags = isSampled ? TraceFlags.SAMPLED : TraceFlags.NONE;
  return trace.setSpanContext(ROOT_CONTEXT, { traceId, spanId, traceFlags, isRemote: true });
}

function isServiceFault(code: string): boolean {
  return code === "internal" || code === "unavailable" || code === "data_loss";
}

/** The reason of an error of ours, the SQLSTATE of one of PostgreSQL's, or the name of its class. */
function kindOf(error: unknown): string {
  if (error instanceof OtaError) return error.reason;
  const { code, name } = error as { readonly code?: unknown; readonly name?: unknown };
  return typeof code === "string" ? code : String(name);
}

/** Tells the log when a collector takes nothing, and when it does again: once each, not for every batch. */
function toldOf(exporter: SpanExporter, logger: Logger): SpanExporter {
  let isFailing = false;
  return {
    export: (spans, done) =>
      exporter.export(spans, (result) => {
        const failed = result.error !== undefined || result.code !== 0;
        if (failed && !isFailing)
          logger.warn({ err: result.error }, "the collector takes no traces; they are lost");
        if (!failed && isFailing) logger.info("the collector takes traces again");
        isFailing = failed;
        done(result);
      }),
    shutdown: () => exporter.shutdown(),
    forceFlush: async () => exporter.forceFlush?.(),
  };
}
