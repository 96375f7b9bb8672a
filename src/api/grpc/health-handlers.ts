import type { DescService } from "@bufbuild/protobuf";
import {
  Health,
  HealthCheckResponse_ServingStatus as ServingStatus,
} from "../../../gen/grpc/health/v1/health_pb.js";
import { notFound } from "../../errors.ts";
import { type Endpoint, serverStream, unary } from "../pipeline/endpoint.ts";

/** Whether the service takes calls. Set by whoever starts and stops it; watched by health checks. */
export class ServingState {
  #serving = false;
  readonly #listeners = new Set<() => void>();

  get serving(): boolean {
    return this.#serving;
  }

  set(serving: boolean): void {
    if (serving === this.#serving) return;
    this.#serving = serving;
    for (const listener of this.#listeners) listener();
  }

  /** Resolves at the next change; rejects with the signal's reason if that aborts first. */
  changed(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle = () => {
        this.#listeners.delete(settle);
        signal.removeEventListener("abort", settle);
        if (signal.aborted) reject(signal.reason as Error);
        else resolve();
      };
      this.#listeners.add(settle);
      signal.addEventListener("abort", settle);
      if (signal.aborted) settle();
    });
  }
}

/**
 * grpc.health.v1.Health (grpc/proposal, "GRPC Health Checking Protocol"): the state of the whole (empty name) and of each service
 * by its full name. All services share one process and one state.
 */
export function healthEndpoints(state: ServingState, services: readonly DescService[]): Endpoint[] {
  const names = new Set(["", Health.typeName, ...services.map(({ typeName }) => typeName)]);
  const options = { access: { public: true }, rate: "probe" } as const;
  const current = () => (state.serving ? ServingStatus.SERVING : ServingStatus.NOT_SERVING);
  return [
    unary(Health.method.check, options, async ({ service }) => {
      if (!names.has(service)) throw notFound("service", service);
      return { status: current() };
    }),
    unary(Health.method.list, options, async () => ({
      statuses: Object.fromEntries([...names].map((name) => [name, { status: current() }])),
    })),
    serverStream(Health.method.watch, options, async function* ({ service }, { signal }) {
      // The protocol keeps the watch on an unknown service open, in case it comes to be; here none does.
      const known = names.has(service);
      for (;;) {
        yield { status: known ? current() : ServingStatus.SERVICE_UNKNOWN };
        await state.changed(signal);
      }
    }),
  ];
}
