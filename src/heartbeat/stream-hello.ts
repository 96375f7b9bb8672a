/** How a device introduces itself on a stream. */
export interface StreamHello {
  readonly deviceId: string;
  /** From 1; 0 if the device leaves it to the service. */
  readonly epoch: number;
  /** The highest sequence that the device has given out. */
  readonly lastSequence: number;
  readonly bootId: string;
  readonly agentVersion: string;
  readonly firmwareVersion: string;
  readonly securityCounter: number;
  readonly imageSha256: Uint8Array | undefined;
  /** Names of `ota.v1.Capability` without their prefix, for example `RESUME`. */
  readonly capabilities: readonly string[];
  /** A name of `ota.v1.ClockQuality` without its prefix. */
  readonly clockQuality: string;
  /** How often it sends a heartbeat by itself; undefined: as often as it is asked to. */
  readonly heartbeatIntervalMs: number | undefined;
}

/**
 * Is told that a device opened a stream, right before its welcome is sent: directives that it sends now follow the
 * welcome. It must not throw, and must not wait.
 */
export interface StreamObserver {
  streamOpened(hello: StreamHello): void;
}
