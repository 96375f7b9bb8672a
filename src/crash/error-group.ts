import type { DeviceError } from "../device/state/heartbeat-record.ts";
import type { Severity } from "../device/state/severity.ts";
import type { StackKind } from "./stacks/stack.ts";

/** Where a group stands: to be looked at, mended, or known and let be. */
export type ErrorGroupState = "open" | "resolved" | "ignored";

/** Errors and crashes of all devices that have the same cause. */
export interface ErrorGroup {
  readonly id: string;
  /** SHA-256 in hexadecimal, see {@link fingerprintOf}. */
  readonly fingerprint: string;
  readonly state: ErrorGroupState;
  /** A line for people. */
  readonly title: string;
  readonly code: string;
  /** Of its worst occurrence. */
  readonly severity: Severity;
  /** Whether any occurrence was a crash. */
  readonly fatal: boolean;
  readonly stackKind: StackKind;
  readonly occurrenceCount: number;
  readonly deviceCount: number;
  readonly firstSeenAt: Date;
  readonly lastSeenAt: Date;
  readonly firstSeenVersion: string;
  /** The highest version on which it was seen. */
  readonly lastSeenVersion: string;
  /** While resolved, the highest version that still has it; otherwise empty. */
  readonly resolvedVersion: string;
  /** When a newer version showed it again and so reopened it, the last time. */
  readonly regressedAt: Date | undefined;
  /** Who changed its state last, and why; empty if nobody did. */
  readonly stateReason: string;
  /** By what its errors belong together, for people; empty if it was not kept. */
  readonly groupedBy: string;
  /** The id of the group that counts its errors as well; undefined for none. */
  readonly mergedInto: string | undefined;
}

/** One time that an error happened. */
export interface ErrorOccurrence {
  readonly id: string;
  readonly groupId: string;
  readonly deviceId: string;
  readonly report: DeviceError;
  readonly receivedAt: Date;
  readonly deviceTime: Date | undefined;
  readonly firmwareVersion: string;
  readonly bootId: string;
}

/** How often a group was seen on a day. */
export interface ErrorDayCount {
  /** `YYYY-MM-DD` in UTC. */
  readonly day: string;
  readonly firmwareVersion: string;
  readonly deviceType: string;
  readonly occurrenceCount: number;
}

/** A device on which a group was seen. */
export interface AffectedDevice {
  readonly deviceId: string;
  readonly serialNumber: string;
  readonly occurrenceCount: number;
  readonly firstSeenAt: Date;
  readonly lastSeenAt: Date;
  readonly lastSeenVersion: string;
}

/** By what groups can be ordered, always the greatest first. */
export const groupOrders = ["last_seen_time", "first_seen_time", "occurrence_count", "device_count"] as const;

/** See {@link groupOrders}. */
export type GroupOrder = (typeof groupOrders)[number];
