import type { Logger } from "pino";
import { DeviceService } from "../../gen/ota/v1/device_service_pb.js";
import type { RpcClient } from "../client/rpc-client.ts";
import { Alarm } from "../infra/alarm.ts";
import type { Clock } from "../infra/clock.ts";
import type { DeviceMemory } from "./device-memory.ts";
import { isHeaderText } from "./enrol.ts";

/** What {@link rotateToken} works with. */
export interface TokenRotationOptions {
  /** A client with the token that the device has. */
  readonly client: RpcClient;
  readonly memory: DeviceMemory;
  readonly clock: Clock;
  readonly logger: Logger;
  /** From which age on a token is exchanged, in milliseconds. */
  readonly maxAgeMs: number;
}

/**
 * Exchanges a token that is old, or of an age that nobody knows. The new one is kept before it is used, and until then the service takes the old
 * one: whatever fails here, a token is left that works, so nothing is thrown.
 */
export async function rotateToken(options: TokenRotationOptions, signal: AbortSignal): Promise<void> {
  const { client, memory, clock, logger, maxAgeMs } = options;
  const { identity } = memory.state;
  const nowMs = clock.now().getTime();
  if (identity === undefined || identity.token === "") return;
  if (identity.tokenSinceMs !== undefined && nowMs - identity.tokenSinceMs < maxAgeMs) return;
  try {
    const { deviceToken: token } = await client.unary(
      DeviceService.method.rotateDeviceToken,
      {},
      { signal, timeoutMs: callTimeoutMs },
    );
    // It is kept for long and goes into the header of every call.
    if (!isHeaderText(token)) throw new Error("the service handed out a token that cannot be one");
    await memory.update({ identity: { ...identity, token, tokenSinceMs: nowMs } });
    logger.info("the device has another token");
  } catch (error) {
    logger.debug({ err: error }, "the device keeps its token");
  }
}

/** Exchanges the token of a running device whenever it has become old; resolves when the signal aborts. */
export async function keepTokenYoung(options: TokenRotationOptions, signal: AbortSignal): Promise<void> {
  const alarm = new Alarm();
  while (!signal.aborted) {
    await alarm.wait(Math.min(Math.max(options.maxAgeMs, minLookMs), maxLookMs), signal);
    if (!signal.aborted) await rotateToken(options, signal);
  }
}

/** A token of a month need not be looked at more often. */
const maxLookMs = 86_400_000;
const minLookMs = 1_000;

/** The device waits for it before it goes to work. */
const callTimeoutMs = 5_000;
