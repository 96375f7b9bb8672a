import type { FastifyReply, FastifyRequest } from "fastify";
import type { Clock } from "../infra/clock.ts";
import type { Metrics } from "../infra/metrics.ts";
import type { RawRoute } from "./http/raw-route.ts";
import type { Readiness } from "./readiness.ts";

/** What answers the questions of probes. */
export interface ProbeParts {
  readonly readiness: Readiness;
  readonly metrics: Metrics;
  readonly clock: Clock;
}

/**
 * Health and metrics, for probes and Prometheus. They need no credential, so an address may ask only so often, and what
 * costs more than a few microseconds is made once a second, however many ask.
 */
export function probeRoutes({ readiness, metrics, clock }: ProbeParts): RawRoute[] {
  const shared = new SharedText(() => metrics.text(), clock);
  const ready = async (_request: FastifyRequest, reply: FastifyReply) => {
    const report = await readiness.report();
    void reply.code(report.ready ? 200 : 503).header("cache-control", "no-store");
    return { status: report.ready ? "ready" : "not ready", checks: report.checks };
  };
  // Only that the process answers: a probe that restarts it must not do so because the database is away.
  const live = async (_request: FastifyRequest, reply: FastifyReply) => {
    void reply.header("cache-control", "no-store");
    return { status: "alive" };
  };
  return [
    probe("/health", ready),
    probe("/health/", ready),
    probe("/health/ready", ready),
    probe("/health/ready/", ready),
    probe("/health/live", live),
    probe("/health/live/", live),
    probe("/metrics", async (_request, reply) => {
      void reply.type(metrics.contentType).header("cache-control", "no-store");
      return await shared.get();
    }),
  ];
}

function probe(url: string, handle: RawRoute["handle"]): RawRoute {
  return { method: "GET", url, access: { public: true }, rate: "probe", handle };
}

/** A text that is made when it is asked for, and once a second at most. */
class SharedText {
  readonly #make: () => Promise<string>;
  readonly #clock: Clock;
  #text: Promise<string> | undefined;
  #staleAtMs = Number.NEGATIVE_INFINITY;

  constructor(make: () => Promise<string>, clock: Clock) {
    this.#make = make;
    this.#clock = clock;
  }

  get(): Promise<string> {
    const nowMs = this.#clock.monotonicMs();
    if (this.#text === undefined || nowMs >= this.#staleAtMs) {
      this.#staleAtMs = nowMs + sharedMs;
      this.#text = this.#make();
    }
    return this.#text;
  }
}

const sharedMs = 1_000;
