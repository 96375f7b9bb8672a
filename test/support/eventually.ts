import { setTimeout as delay } from "node:timers/promises";

/** Of a machine that is busy with other things as well. */
const DEADLINE_MS = 60_000;

/** Soon at first, and rarer the longer it takes: what is waited for needs the processor more than those who ask. */
const FIRST_PAUSE_MS = 10;
const LONGEST_PAUSE_MS = 100;
const PAUSE_GROWTH = 1.25;

/**
 * Calls `attempt` until it returns without throwing, and returns its value; after the deadline its last error is
 * thrown. For conditions that no event announces.
 */
export async function eventually<T>(attempt: () => T | Promise<T>, deadlineMs = DEADLINE_MS): Promise<T> {
  const deadline = performance.now() + deadlineMs;
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(pauseMs * PAUSE_GROWTH, LONGEST_PAUSE_MS)) {
    try {
      return await attempt();
    } catch (error) {
      if (performance.now() > deadline) throw error;
      await delay(pauseMs);
    }
  }
}
