/**
 * Why an update cannot be taken by this device. It is reported to the service as it is; that the service cannot be
 * reached or has a fault of its own is never one.
 */
export class AgentFailure extends Error {
  override readonly name: string = "AgentFailure";
  /** A short stable code, for example `DIGEST_MISMATCH`: at most 64 characters. */
  readonly reason: string;

  constructor(reason: string, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.reason = reason;
  }
}
