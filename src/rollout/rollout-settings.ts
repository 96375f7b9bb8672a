import type { ReleasePolicy } from "../firmware/signature-rule.ts";
import type { RolloutDefaults } from "./model/new-rollout.ts";

/** What the operator of the service set. */
export interface RolloutSettings extends RolloutDefaults {
  /** What firmware needs to be offered. */
  readonly release: ReleasePolicy;
  /** How long after a start or an outage devices have to be heard from before a deadline passes: some heartbeat intervals. */
  readonly deadlineGraceMs: number;
  /** Decides who is online, for the filters of rollouts. */
  readonly heartbeatIntervalMs: number;
  /** How long devices are watched before silence and readings are judged for health: some tens of heartbeat intervals. */
  readonly healthBucketMs: number;
  /** How often gates, deadlines and other replicas are looked at. 1 s unless given. */
  readonly tickMs?: number;
}
