import type { DurableHeartbeat } from "../device/state/heartbeat-record.ts";

/** Is told of heartbeats once they are committed. */
export interface DurableHeartbeatObserver {
  /**
   * All that a transaction is about to store, before each attempt; it begins when this is done. Undefined, as nearly always,
   * if there is nothing to wait for. What this throws counts as an outage of the database: nothing is stored, and the
   * attempt is made again.
   */
  prepare?(records: readonly DurableHeartbeat[]): Promise<void> | undefined;

  /**
   * All that a transaction stored, each device's oldest first. Called on the hot path: it must be quick, must not wait
   * and must not throw. After a lost connection the same heartbeats may be reported twice.
   */
  observe(records: readonly DurableHeartbeat[]): void;
}
