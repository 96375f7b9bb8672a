/** One heartbeat as the service keeps it: checked, numbered and received. Optional readings are absent, never zero. */
export interface HeartbeatRecord {
  readonly deviceId: string;
  /** Changes when the device lost its counter, for example by a factory reset. */
  readonly epoch: number;
  /** Counts the device's heartbeats within an epoch, from 1. */
  readonly sequence: number;
  /** When the service received it, by its own clock. */
  readonly receivedAt: Date;
  /** When the device says that it made it; not to be trusted. */
  readonly deviceTime?: Date | undefined;
  /** The version that runs. */
  readonly firmwareVersion: string;
  /** Changes with every reboot. */
  readonly bootId: string;
  readonly uptimeMs: number;
  readonly batteryPercent?: number | undefined;
  readonly charging?: boolean | undefined;
  readonly cpuPercent?: number | undefined;
  readonly memoryPercent?: number | undefined;
  readonly storageFreeBytes?: number | undefined;
  readonly temperatureCelsius?: number | undefined;
  readonly latitude?: number | undefined;
  readonly longitude?: number | undefined;
  readonly accuracyMeters?: number | undefined;
  readonly altitudeMeters?: number | undefined;
  /** When the position was taken, by the device's clock; absent means with the heartbeat. */
  readonly fixTime?: Date | undefined;
  /** The value of `ota.v1.NetworkType`; absent if the device did not say. */
  readonly networkType?: number | undefined;
  readonly signalDbm?: number | undefined;
  readonly carrier?: string | undefined;
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
  /** The value of `ota.v1.Severity`. */
  readonly severity: number;
  readonly message: string;
  /** One frame a line; empty if unknown. */
  readonly stack: string;
  /** Whether it ended the program or rebooted the device. */
  readonly fatal: boolean;
  /** What else may help, as text by name; absent for nothing. */
  readonly context?: Readonly<Record<string, string>> | undefined;
  /** The id of a log that the device says it uploaded; absent for none. */
  readonly crashLogId?: string | undefined;
}
