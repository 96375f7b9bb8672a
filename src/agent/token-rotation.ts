import type { Logger } from "pino";
import { DeviceService } from "../../gen/ota/v1/device_service_pb.js";
import type { RpcClient } from "../client/rpc-client.ts";
import { Alarm } from "../infra/alarm.ts";
import type { Clock } from "../infra/clock.ts";
import type { DeviceMemory } from "./device-memory.ts";
import { expiryOf, isHeaderText } from "./enrol.ts";

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
 * Exchanges a token that is old, or of an age that nobody knows, or any if that is `wanted`; says whether it did. The new one is kept before it is used, and until then the service takes the old
 * one: whatever fails here, a token is left that works, so nothing is thrown.
 */
export async function rotateToken(
  options: TokenRotationOptions,
  signal: AbortSignal,
  wanted = false,
): Promise<boolean> {
  const { client, memory, clock, logger, maxAgeMs } = options;
  const { identity } = memory.state;
  const nowMs = clock.now().getTime();
  if (identity === undefined || identity.token === "") return false;
  if (!wanted && nowMs < rotationDueMs(identity, maxAgeMs)) return false;
  try {
    const { deviceToken: token, tokenExpireTime } = await client.unary(
      DeviceService.method.rotateDeviceToken,
      {},
      { signal, timeoutMs: callTimeoutMs },
    );
    // It is kept for long and goes into the header of every call.
    if (!isHeaderText(token)) throw new Error("the service handed out a token that cannot be one");
    const { tokenExpiresMs: _before, ...rest } = identity;
    await memory.update({
      identity: { ...rest, token, tokenSinceMs: nowMs, ...expiryOf(tokenExpireTime) },
    });
    logger.info("the device has another token");
    return true;
  } catch (error) {
    logger.debug({ err: error }, "the device keeps its token");
    return false;
  }
}

/** Exchanges the token of a running device whenever it has become old, or the service wants it: one exchange after the other. */
export class TokenKeeper {
  readonly #options: TokenRotationOptions;
  readonly #alarm = new Alarm();
  #wanted: PromiseWithResolvers<boolean> | undefined;

  constructor(options: TokenRotationOptions) {
    this.#options = options;
  }

  /** Exchanges the token now; resolves when that is tried, with whether there is another one. */
  rotate(): Promise<boolean> {
    this.#wanted ??= Promise.withResolvers();
    this.#alarm.ring();
    return this.#wanted.promise;
  }

  /** Resolves when the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    for (;;) {
      await this.#alarm.wait(this.#wanted === undefined ? this.#pauseMs() : 0, signal);
      const wanted = this.#wanted;
      this.#wanted = undefined;
      const done = !signal.aborted && (await rotateToken(this.#options, signal, wanted !== undefined));
      wanted?.resolve(done);
      if (signal.aborted) return;
    }
  }

  #pauseMs(): number {
    const { clock, maxAgeMs, memory } = this.#options;
    const { identity } = memory.state;
    const dueMs = identity === undefined ? Number.POSITIVE_INFINITY : rotationDueMs(identity, maxAgeMs);
    const waitMs = dueMs - clock.now().getTime();
    // What is due still was tried just now, in vain.
    const pauseMs = waitMs > 0 ? waitMs : Math.min(maxAgeMs, retryMs);
    return Math.min(Math.max(pauseMs, minLookMs), maxLookMs);
  }
}

/**
 * When a token is to be exchanged, in milliseconds since 1970: at an age, or when half of its life is over, if that is earlier. Of one that is
 * of an age that nobody knows, at once. The end is told by the service's clock: on a device whose clock is far ahead it is near, or past.
 */
export function rotationDueMs({ tokenSinceMs, tokenExpiresMs }: TokenTimes, maxAgeMs: number): number {
  if (tokenSinceMs === undefined) return Number.NEGATIVE_INFINITY;
  const halfMs =
    tokenExpiresMs === undefined ? maxAgeMs : Math.max((tokenExpiresMs - tokenSinceMs) / 2, minHalfMs);
  return tokenSinceMs + Math.min(maxAgeMs, halfMs);
}

/** By the device's clock. */
interface TokenTimes {
  readonly tokenSinceMs?: number;
  readonly tokenExpiresMs?: number;
}

/** Of the shortest life that tokens have. */
const minHalfMs = 12 * 3_600_000;

const retryMs = 3_600_000;

/** A token of a month need not be looked at more often. */
const maxLookMs = 86_400_000;
const minLookMs = 1_000;

/** The device waits for it before it goes to work. */
const callTimeoutMs = 5_000;
