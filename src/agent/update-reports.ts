import { status } from "@grpc/grpc-js";
import type { Logger } from "pino";
import { DeviceUpdateState } from "../../gen/ota/v1/rollout_pb.js";
import { UpdateService } from "../../gen/ota/v1/update_service_pb.js";
import { ClientError } from "../client/client-error.ts";
import type { RpcClient } from "../client/rpc-client.ts";
import type { Clock } from "../infra/clock.ts";
import type { AgentFailure } from "./agent-failure.ts";
import type { Retry } from "./retry.ts";

/** What reports are sent with. */
export interface UpdateReportsOptions {
  readonly client: RpcClient;
  readonly retry: Retry;
  readonly logger: Logger;
  readonly clock: Clock;
}

/** Tells the service how far an update is. */
export class UpdateReports {
  readonly #options: UpdateReportsOptions;
  #reportedAtMs = 0;

  constructor(options: UpdateReportsOptions) {
    this.#options = options;
  }

  /** Tells of a step until the service has heard it; if it says that the update is over, so does an {@link UpdateOver}. */
  step(updateId: string, state: DeviceUpdateState, bytes: number, signal: AbortSignal): Promise<void> {
    const { clock, retry } = this.#options;
    this.#reportedAtMs = clock.monotonicMs();
    return retry.run(signal, (attempt) => this.#send(updateId, state, bytes, attempt));
  }

  /** Tells now and then how far a download is; a report that is lost is not sent again. */
  async progress(updateId: string, bytes: number, signal: AbortSignal): Promise<void> {
    const nowMs = this.#options.clock.monotonicMs();
    if (nowMs - this.#reportedAtMs < progressIntervalMs) return;
    this.#reportedAtMs = nowMs;
    await this.#send(updateId, DeviceUpdateState.DOWNLOADING, bytes, signal);
  }

  /** Tells that the update cannot be taken, and why. */
  async failure(updateId: string, failure: AgentFailure, signal: AbortSignal): Promise<void> {
    const { client, logger, retry } = this.#options;
    logger.warn({ updateId, reason: failure.reason, err: failure }, "the update failed");
    await retry.run(signal, (attempt) =>
      client.unary(
        UpdateService.method.reportUpdateStatus,
        {
          updateId,
          state: DeviceUpdateState.FAILED,
          failureReason: failure.reason.slice(0, maxReasonLength),
          failureMessage: failure.message.slice(0, maxMessageLength),
        },
        { signal: attempt, timeoutMs: callTimeoutMs },
      ),
    );
  }

  async #send(updateId: string, state: DeviceUpdateState, bytes: number, signal: AbortSignal): Promise<void> {
    const response = await this.#options.client.unary(
      UpdateService.method.reportUpdateStatus,
      { updateId, state, downloadedBytes: BigInt(bytes) },
      { signal, timeoutMs: callTimeoutMs },
    );
    // After the installation the device boots what it installed, whatever the service has decided by then.
    if (finalStates.has(response.state) && state !== DeviceUpdateState.REBOOTING) throw new UpdateOver();
  }
}

/** The service says that the update is over. */
class UpdateOver extends Error {
  override readonly name = "UpdateOver";
}

/** Whether the service said that the update is over, no longer knows of it, or not for this device. */
export function isOver(error: unknown): boolean {
  if (error instanceof UpdateOver) return true;
  return (
    error instanceof ClientError &&
    (error.reason === "NOT_OFFERED" || error.reason === "NOT_FOUND" || error.code === status.NOT_FOUND)
  );
}

/** How long one call about updates may take, in milliseconds: an answer that comes later finds nobody. */
export const callTimeoutMs = 30_000;
/** How often the progress of a download is reported, in milliseconds. */
const progressIntervalMs = 10_000;
/** Limits of `ReportUpdateStatusRequest`, in characters. */
const maxReasonLength = 64;
const maxMessageLength = 2000;

const finalStates: ReadonlySet<DeviceUpdateState> = new Set([
  DeviceUpdateState.SUCCEEDED,
  DeviceUpdateState.FAILED,
  DeviceUpdateState.TIMED_OUT,
  DeviceUpdateState.SUPERSEDED,
  DeviceUpdateState.CANCELLED,
  DeviceUpdateState.ROLLED_BACK,
]);
