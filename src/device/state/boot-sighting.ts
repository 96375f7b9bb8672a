/** That a device was heard live under a boot id. */
export interface BootSighting {
  readonly deviceId: string;
  readonly bootId: string;
  /** When, in milliseconds since 1970, by the service's clock. */
  readonly atMs: number;
  /** When that boot began, by the uptime that the device told; undefined if it told none. */
  readonly startedAtMs: number | undefined;
  /** Whether a stream begins with it, which is rare and takes the place of the device's older one: each counts. */
  readonly beginsStream: boolean;
}

/** Is told of them. It must not throw, and must not wait. */
export interface BootObserver {
  sighted(sighting: BootSighting): void;
}
