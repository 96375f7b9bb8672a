import type { ClockVerdict } from "./clock-verdict.ts";
import type { HeartbeatFaultKind } from "./heartbeat-fault-writer.ts";
import type { HeldReadings } from "./held-readings.ts";
import type { Standing } from "./standing.ts";

/** What a filter may ask of a device: a live view, read at the moment of the decision. */
export interface FilterableDevice extends HeldReadings {
  readonly id: string;
  readonly serialNumber: string;
  readonly deviceType: string;
  readonly hardwareModel: string;
  /** The product that it runs, as it or an operator said; empty if nobody did. */
  readonly product: string;
  readonly displayName: string;
  readonly groups: readonly string[];
  readonly tags: readonly string[];
  readonly metadata: Readonly<Record<string, string>>;
  readonly updatePin: UpdatePin;
  readonly standing: Standing;
  /** Since when it is suspected to have a clone, in milliseconds since 1970; undefined if it is not. */
  readonly cloneSuspectedAtMs: number | undefined;
  /** Milliseconds since 1970. */
  readonly createdAtMs: number;
  /** Of the newest heartbeat or, before the first one, of the enrolment; empty if unknown. */
  readonly firmwareVersion: string;
  /** Versions of applications by name; undefined if it never told any. */
  readonly components: Readonly<Record<string, string>> | undefined;
  /** Milliseconds since 1970; undefined before the first heartbeat. */
  readonly lastSeenAtMs: number | undefined;
  /** How often a sign of life of it is expected; undefined: as often as the service's setting says. */
  readonly expectedIntervalMs: number | undefined;
  readonly securityCounter: number;
  /** Of the newest heartbeat; undefined if that shows nothing of the clock. */
  readonly clockVerdict: ClockVerdict | undefined;
  /** When each kind of fault was last noticed in its heartbeats, in milliseconds since 1970, as it was when the record was read. */
  readonly faultTimes: FaultTimes;
}

/** Times by kind of fault; a kind that was never noticed is absent. */
export type FaultTimes = { readonly [kind in HeartbeatFaultKind]?: number };

/** How all rollouts treat a device: by chance, always in the first ring, or never. */
export type UpdatePin = "none" | "canary" | "excluded";
