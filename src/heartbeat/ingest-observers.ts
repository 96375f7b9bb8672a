import type { HeartbeatRecord } from "../device/heartbeat-record.ts";

/** A heartbeat that is committed. */
export interface DurableHeartbeat extends HeartbeatRecord {
  /**
   * Whether the device had newer ones when it sent this: history, which must not count as how the device is now. Absent
   * means no.
   */
  readonly backlog?: boolean | undefined;
}

/** Is told of heartbeats once they are committed. */
export interface DurableHeartbeatObserver {
  /**
   * All that a transaction stored, each device's oldest first. Called on the hot path: it must be quick, must not wait
   * and must not throw. After a lost connection the same heartbeats may be reported twice.
   */
  observe(records: readonly DurableHeartbeat[]): void;
}
