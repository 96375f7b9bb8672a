import { OtaError } from "../../errors.ts";
import type { Clock } from "../clock.ts";
import type { StoreMetrics } from "../metrics.ts";
import type { StoreWatch } from "./watched-object-store.ts";

/** Counts the calls of an object store by how they end, with their time. */
export function countStoreCalls(metrics: StoreMetrics, clock: Clock): StoreWatch {
  return async (operation, call) => {
    const startedMs = clock.monotonicMs();
    const seconds = (): number => (clock.monotonicMs() - startedMs) / 1_000;
    try {
      const result = await call();
      metrics.duration(operation, "ok").observe(seconds());
      return result;
    } catch (error) {
      metrics.duration(operation, outcomeOf(error)).observe(seconds());
      throw error;
    }
  };
}

/** Stores throw errors of the service, or the reason of a signal that was aborted. */
function outcomeOf(error: unknown): Parameters<StoreMetrics["duration"]>[1] {
  if (error instanceof OtaError) return error.code;
  return error instanceof DOMException ? "aborted" : "internal";
}
