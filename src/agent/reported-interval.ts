import { type Duration, durationFromMs } from "@bufbuild/protobuf/wkt";

/**
 * What a device says in its hello of how often it beats, in milliseconds, if it does not go by what the service asks for. Within
 * what the service takes: one that beats more than once a second is expected every second.
 */
export function reportedInterval(intervalMs: number | undefined): { readonly heartbeatInterval?: Duration } {
  if (intervalMs === undefined) return {};
  return { heartbeatInterval: durationFromMs(Math.min(Math.max(intervalMs, leastMs), mostMs)) };
}

const leastMs = 1_000;

const mostMs = 30 * 86_400_000;
