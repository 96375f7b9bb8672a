import { type Timestamp, timestampMs } from "@bufbuild/protobuf/wkt";
import { status } from "@grpc/grpc-js";
import type { Logger } from "pino";
import { AccessService } from "../../gen/ota/v1/access_service_pb.js";
import { DeviceService } from "../../gen/ota/v1/device_service_pb.js";
import { ClientError } from "../client/client-error.ts";
import type { RpcClient } from "../client/rpc-client.ts";
import { Alarm } from "../infra/alarm.ts";
import { BackOff } from "../infra/back-off.ts";
import type { Clock } from "../infra/clock.ts";
import { AgentFailure } from "./agent-failure.ts";
import type { DeviceMemory } from "./device-memory.ts";
import type { SignedTokens } from "./signed-tokens.ts";

/** What a device says of itself when it enrols; see `EnrolDeviceRequest`. */
export interface Enrolment {
  readonly enrolmentKey: string;
  readonly serialNumber: string;
  readonly metadata?: Readonly<Record<string, string>>;
}

/** What enrolment works with. */
export interface EnrolOptions {
  /** A client without a token. */
  readonly client: RpcClient;
  /** Whether it shows a certificate, which may be the credential of a device that is known already. */
  readonly certified: boolean;
  /** The id that it had, if it is to enrol only where nobody knows that one. */
  readonly formerDeviceId?: string | undefined;
  /** Of the device's own key, if it has one, which is to be its credential. */
  readonly tokens: SignedTokens | undefined;
  readonly memory: DeviceMemory;
  readonly enrolment: Enrolment;
  readonly deviceType: string;
  readonly hardwareModel: string;
  readonly firmwareVersion: string;
  readonly logger: Logger;
  readonly random: () => number;
  readonly clock: Clock;
}

/**
 * Gives the device its own credential, in the place of the one that it has. Waits while the service is away; a lost answer is asked for
 * again under the same request id. Throws the service's {@link ClientError} if it refuses, for example
 * `ENROLMENT_KEY_INVALID`, {@link AgentFailure} `INVALID_IDENTITY` if what it hands out cannot be one, and the signal's reason if
 * that aborts.
 */
export async function enrolDevice(options: EnrolOptions, signal: AbortSignal): Promise<void> {
  const { client, enrolment, logger, memory, random, tokens } = options;
  const backOff = new BackOff({ baseMs: 500, capMs: 60_000, random });
  for (;;) {
    signal.throwIfAborted();
    try {
      if (options.certified && (await isKnown(options, signal))) return;
      const { device, deviceToken, tokenExpireTime, epoch } = await client.unary(
        DeviceService.method.enrolDevice,
        {
          requestId: memory.state.enrolmentRequestId,
          enrolmentKey: enrolment.enrolmentKey,
          serialNumber: enrolment.serialNumber,
          deviceType: options.deviceType,
          hardwareModel: options.hardwareModel,
          firmwareVersion: options.firmwareVersion,
          metadata: { ...enrolment.metadata },
          formerDeviceId: options.formerDeviceId ?? "",
          ...(tokens === undefined ? {} : await keyOf(tokens, enrolment.serialNumber, memory)),
        },
        { signal, timeoutMs: callTimeoutMs },
      );
      const tokenSinceMs = options.clock.now().getTime();
      const ownKey = tokens === undefined || deviceToken !== "" ? {} : { keyThumbprint: tokens.thumbprint };
      const identity = {
        deviceId: device?.id ?? "",
        token: deviceToken,
        tokenSinceMs,
        ...expiryOf(tokenExpireTime),
        ...ownKey,
      };
      // It is kept for life and goes into the header of every call.
      const hasOwn = options.certified || tokens !== undefined;
      const hasCredential = isHeaderText(identity.token) || (hasOwn && identity.token === "");
      if (!isHeaderText(identity.deviceId) || !hasCredential) {
        throw new AgentFailure("INVALID_IDENTITY", "the service handed out an identity that cannot be one");
      }
      // Sequences go on rising: in a new epoch any start is right. A service from before epochs names none.
      await memory.update({ identity, epoch: epoch || memory.state.epoch, lostDeviceId: undefined });
      logger.info({ deviceId: device?.id }, "enrolled");
      return;
    } catch (error) {
      if (!(error instanceof ClientError) || !mayPass(error)) throw error;
      tokens?.learn(error);
      const pauseMs = backOff.next(error.retryAfterMs);
      logger.debug({ err: error, pauseMs }, "enrolment will be tried again");
      await new Alarm().wait(pauseMs, signal);
    }
  }
}

/**
 * Whether the device's certificate is a credential as it is: of a device that an operator registered, or that has lost what it
 * knew. How far its heartbeats are counted the first stream tells.
 */
async function isKnown({ client, memory, logger }: EnrolOptions, signal: AbortSignal): Promise<boolean> {
  try {
    const { deviceId } = await client.unary(
      AccessService.method.whoAmI,
      {},
      { signal, timeoutMs: callTimeoutMs },
    );
    if (!isHeaderText(deviceId)) return false;
    await memory.update({ identity: { deviceId, token: "" }, lostDeviceId: undefined });
    logger.info({ deviceId }, "known by its certificate");
    return true;
  } catch (error) {
    // Its certificate does not say who it is, or not any more: then it enrols.
    if (error instanceof ClientError && error.code === status.UNAUTHENTICATED) return false;
    throw error;
  }
}

/** The device's key with the proof that it has the private half. */
async function keyOf(tokens: SignedTokens, serialNumber: string, { state }: DeviceMemory) {
  const claim = { sub: serialNumber, requestId: state.enrolmentRequestId };
  return { publicKey: tokens.signer.publicKeyPem, keyProof: await tokens.claim(tokens.signer, claim) };
}

/** When a token stops working, as the device keeps it; a service from before that was said names no time. */
export function expiryOf(expireTime: Timestamp | undefined): { readonly tokenExpiresMs?: number } {
  return expireTime === undefined ? {} : { tokenExpiresMs: timestampMs(expireTime) };
}

/** Whether a text can be sent in a header: printable ASCII, 1 to 1,024 characters. */
export function isHeaderText(text: string): boolean {
  return /^[\x20-\x7e]{1,1024}$/.test(text);
}

function mayPass(error: ClientError): boolean {
  // An internal error can also be a fault that will be mended; the same request id makes the repeat safe.
  return error.transient || error.code === status.INTERNAL || error.code === status.ABORTED;
}

/** How long one try may take, in milliseconds. */
const callTimeoutMs = 30_000;
