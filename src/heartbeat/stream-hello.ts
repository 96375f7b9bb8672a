/** How a device introduces itself on a stream. */
export interface StreamHello {
  readonly deviceId: string;
  /** From 1. */
  readonly epoch: number;
  /** The highest sequence that the device has given out. */
  readonly lastSequence: number;
  readonly bootId: string;
  readonly agentVersion: string;
  readonly firmwareVersion: string;
  readonly securityCounter: number;
  readonly imageSha256: Uint8Array | undefined;
  /** Values of `ota.v1.Capability`. */
  readonly capabilities: readonly number[];
  /** A value of `ota.v1.ClockQuality`. */
  readonly clockQuality: number;
}

/**
 * Is told that a device opened a stream, right before its welcome is sent: directives that it sends now follow the
 * welcome. It must not throw, and must not wait.
 */
export interface StreamObserver {
  streamOpened(hello: StreamHello): void;
}
