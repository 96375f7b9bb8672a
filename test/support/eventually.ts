import { setTimeout as delay } from "node:timers/promises";

/** Of a machine that is busy with other things as well. */
const DEADLINE_MS = 60_000;
const POLL_MS = 20;

/**
 * Calls `attempt` until it returns without throwing, and returns its value; after the deadline its last error is
 * thrown. For conditions that no event announces.
 */
export async function eventually<T>(attempt: () => T | Promise<T>, deadlineMs = DEADLINE_MS): Promise<T> {
  const deadline = performance.now() + deadlineMs;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (performance.now() > deadline) throw error;
      await delay(POLL_MS);
    }
  }
}
