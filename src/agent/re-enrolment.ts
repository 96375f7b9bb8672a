import { randomUUID } from "node:crypto";
import { status } from "@grpc/grpc-js";
import type { Logger } from "pino";
import type { ClientError } from "../client/client-error.ts";
import { Alarm } from "../infra/alarm.ts";
import type { Clock } from "../infra/clock.ts";
import type { DeviceMemory } from "./device-memory.ts";

/** What {@link ReEnrolment} works with. */
export interface ReEnrolmentParts {
  readonly memory: DeviceMemory;
  /**
   * Enrols under the request id that the memory has, where a former id is named only if nobody knows that one; throws what another try cannot
   * mend.
   */
  readonly enrol: (signal: AbortSignal, formerDeviceId?: string) => Promise<void>;
  /** Whether the device still has a fleet key. */
  readonly hasKey: boolean;
  /** Whether it has a certificate of its own. */
  readonly certified: boolean;
  readonly logger: Logger;
  readonly random: () => number;
  readonly clock: Pick<Clock, "monotonicMs">;
  /** Upper bound of the wait before it, in milliseconds. Default 60 s. */
  readonly maxRetryPauseMs?: number | undefined;
}

/**
 * Brings a device back that the service does not know any more, because its database was restored from before the device enrolled. The
 * identity is given up only for another one, and everything else that the device remembers stays. A device that was blocked, retired or
 * reset hears other reasons, and stays out; one with a key of its own hears them when it enrols. Once for each identity, and not again within an hour: two databases behind one address
 * must not have a fleet enrol without end.
 */
export class ReEnrolment {
  readonly #parts: ReEnrolmentParts;
  #refusedFor = "";
  #lastMs = Number.NEGATIVE_INFINITY;

  constructor(parts: ReEnrolmentParts) {
    this.#parts = parts;
  }

  /** Enrols again if the service refused the device for not knowing it; whether it did. Never throws. */
  async after(refusal: ClientError, signal: AbortSignal): Promise<boolean> {
    const { clock, enrol, logger, memory, random, maxRetryPauseMs = maxSpreadMs } = this.#parts;
    const { deviceId = "" } = memory.state.identity ?? {};
    if (!this.#isUnknown(refusal) || this.#refusedFor === deviceId) return false;
    if (clock.monotonicMs() - this.#lastMs < minGapMs) return false;
    logger.warn({ deviceId }, "the service does not know this device any more: it enrols again");
    // All devices that enrolled since the backup find out at once.
    await new Alarm().wait(random() * Math.min(maxRetryPauseMs, maxSpreadMs), signal);
    if (signal.aborted) return false;
    try {
      // After a loss of power in the middle it is the same try.
      if (memory.state.lostDeviceId !== deviceId)
        await memory.update({ enrolmentRequestId: randomUUID(), lostDeviceId: deviceId });
      const isOwnKey = refusal.reason === "CREDENTIAL_INVALID" && !this.#hasToken;
      await enrol(signal, isOwnKey ? deviceId : undefined);
      this.#lastMs = clock.monotonicMs();
      return true;
    } catch (error) {
      if (signal.aborted) return false;
      this.#refusedFor = deviceId;
      logger.error(
        { err: error, deviceId },
        "the device could not enrol again, and keeps the identity that it had",
      );
      return false;
    }
  }

  #isUnknown({ code, reason, metadata }: ClientError): boolean {
    if (code !== status.UNAUTHENTICATED) return false;
    const { certified, hasKey } = this.#parts;
    if (reason === "CERTIFICATE_UNKNOWN") return certified;
    // Of a key of its own the service does not say whether it is unknown or was taken from it, unless it is asked by the enrolment. One
    // that cannot be asked so would let in a device that was reset.
    const isAskable = this.#hasToken || metadata["enrol_with"] === "former_device_id";
    return reason === "CREDENTIAL_INVALID" && isAskable && (hasKey || certified);
  }

  get #hasToken(): boolean {
    return (this.#parts.memory.state.identity?.token ?? "") !== "";
  }
}

const maxSpreadMs = 60_000;

const minGapMs = 3_600_000;
