import { monitorEventLoopDelay } from "node:perf_hooks";
import { setTimeout as delay } from "node:timers/promises";
import type { MeasuredRequest, Usage } from "./measured-process.ts";

/**
 * The inside of a measured process: announces `ready`, answers questions about its use of CPU and memory, and stops
 * when asked. Call it once, when the server listens.
 */
export function serveMeasurements(ready: unknown, stop: () => Promise<void>): void {
  let peakRssBytes = 0;
  const sampler = setInterval(() => {
    peakRssBytes = Math.max(peakRssBytes, process.memoryUsage.rss());
  }, peakSampleMs);
  const loop = monitorEventLoopDelay({ resolution: loopSampleMs });
  loop.enable();
  process.on("message", (request: MeasuredRequest) => {
    if (request.ask === "stop") {
      clearInterval(sampler);
      void stop().finally(() => process.exit(0));
      return;
    }
    const peakSoFar = peakRssBytes;
    peakRssBytes = 0;
    // The timer's own period is part of what it measures.
    const loopDelayP99Ms = Math.max(0, loop.percentile(99) / 1e6 - loopSampleMs);
    void usage(peakSoFar).then((answer) => {
      // The collections that the answer needs are not the work's delay.
      loop.reset();
      process.send?.({ ...answer, loopDelayP99Ms } satisfies Usage);
    });
  });
  process.send?.(ready);
}

/** Reading the resident memory costs some 100 us, so it is not done all the time. */
const peakSampleMs = 200;

const loopSampleMs = 5;

/** The argument that the measuring side passed. */
export function measuredArgument<T>(): T {
  return JSON.parse(process.argv[2] ?? "{}") as T;
}

async function usage(peakRssBytes: number): Promise<Omit<Usage, "loopDelayP99Ms">> {
  const cpuMicros = cpuMicrosNow();
  // Two collections with a turn between them, so that finalisers of the first have run.
  globalThis.gc?.();
  await delay(20);
  globalThis.gc?.();
  const rssBytes = process.memoryUsage.rss();
  return {
    cpuMicros,
    cpuMicrosAfter: cpuMicrosNow(),
    rssBytes,
    peakRssBytes: Math.max(peakRssBytes, rssBytes),
  };
}

function cpuMicrosNow(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}
