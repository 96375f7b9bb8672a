import type { Readings } from "./readings.ts";
import type { Severity } from "./severity.ts";

/** One heartbeat as the service keeps it: checked, numbered and received. */
export interface HeartbeatRecord extends Readings {
  readonly deviceId: string;
  /** Changes when the device lost its counter, for example by a factory reset. */
  readonly epoch: number;
  /** Counts the device's heartbeats within an epoch, from 1. */
  readonly sequence: number;
  /** When the service received it, by its own clock. */
  readonly receivedAt: Date;
  /** When the device says that it made it; not to be trusted. */
  readonly deviceTime?: Date | undefined;
  /**
   * How far the device's clock was ahead of the service's, also if what it told is no time to be kept; undefined if it told
   * none, or sent this late.
   */
  readonly clockOffsetMs?: number | undefined;
  /** The version that runs. */
  readonly firmwareVersion: string;
  /** Changes with every reboot. */
  readonly bootId: string;
  readonly uptimeMs: number;
  /** The signed security counter of the image that runs. */
  readonly securityCounter: number;
  /** SHA-256 of the image that runs, if the device can tell. */
  readonly imageSha256?: Uint8Array | undefined;
  readonly errors: readonly DeviceError[];
  /** Custom metrics by name; undefined for none. */
  readonly metrics: Readonly<Record<string, number>> | undefined;
  /** The versions of applications by component; absent for none. */
  readonly components?: Readonly<Record<string, string>> | undefined;
}

/** A heartbeat that is committed. */
export interface DurableHeartbeat extends HeartbeatRecord {
  /**
   * Whether the device had newer ones when it sent this: history, which must not count as how the device is now. Absent
   * means no.
   */
  readonly backlog?: boolean | undefined;
}

/** One error or crash that a device reported. */
export interface DeviceError {
  readonly code: string;
  readonly severity: Severity;
  readonly message: string;
  /** One frame a line; empty if unknown. */
  readonly stack: string;
  /** Whether it ended the program or rebooted the device. */
  readonly fatal: boolean;
  /** What else may help, as text by name; absent for nothing. */
  readonly context?: Readonly<Record<string, string>> | undefined;
  /** The id of a log that the device says it uploaded; absent for none. */
  readonly crashLogId?: string | undefined;
  /** What the device itself takes for the cause; absent for nothing. */
  readonly fingerprint?: string | undefined;
}

/** The longest time since boot: what a google.protobuf.Duration carries, 10,000 years. */
export const maxUptimeMs = 315_576_000_000_000;
