import { availableParallelism, loadavg } from "node:os";
import { setTimeout as delay } from "node:timers/promises";

/** Of a machine that has no more to do than its processors can. */
const DEADLINE_MS = 60_000;

/** On one that has, everything takes as many times longer; past that it is taken for a hang. */
const MOST_TIMES_LONGER = 5;

/** Soon at first, and rarer the longer it takes: what is waited for needs the processor more than those who ask. */
const FIRST_PAUSE_MS = 10;
const LONGEST_PAUSE_MS = 100;
const PAUSE_GROWTH = 1.25;

/**
 * Calls `attempt` until it returns without throwing, and returns its value; after the deadline its last error is
 * thrown, which is later on a busy machine. For conditions that no event announces.
 */
export async function eventually<T>(attempt: () => T | Promise<T>, deadlineMs = DEADLINE_MS): Promise<T> {
  const beganMs = performance.now();
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(pauseMs * PAUSE_GROWTH, LONGEST_PAUSE_MS)) {
    try {
      return await attempt();
    } catch (error) {
      if (performance.now() - beganMs > deadlineMs * timesLonger()) throw error;
      await delay(pauseMs);
    }
  }
}

/** How many times longer all takes now, by what waits for a processor. */
function timesLonger(): number {
  const waiting = loadavg()[0] ?? 0;
  return Math.min(Math.max(1, waiting / availableParallelism()), MOST_TIMES_LONGER);
}
