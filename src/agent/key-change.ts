import { randomUUID } from "node:crypto";
import { status } from "@grpc/grpc-js";
import type { Logger } from "pino";
import { AccessService } from "../../gen/ota/v1/access_service_pb.js";
import { DeviceService } from "../../gen/ota/v1/device_service_pb.js";
import { ClientError } from "../client/client-error.ts";
import type { RpcClient } from "../client/rpc-client.ts";
import type { TokenSource } from "../client/token-source.ts";
import type { DeviceMemory } from "./device-memory.ts";
import type { Retry } from "./retry.ts";
import type { SignedTokens } from "./signed-tokens.ts";

/** What {@link changeKey} works with. */
export interface KeyChange {
  /** Of the key that shall be the device's. */
  readonly tokens: SignedTokens;
  /** Of the one that it had; undefined if it has had a token so far. */
  readonly former: SignedTokens | undefined;
  readonly memory: DeviceMemory;
  readonly retry: Retry;
  readonly logger: Logger;
  readonly newClient: (token: string | TokenSource) => RpcClient;
}

/**
 * Makes a key the enrolled device's credential instead of its token or its former key, unless it is that already. Whether it is the
 * device remembers; it asks the service, and waits for it, where it does not know: as after a try whose answer got lost. Throws the
 * service's {@link ClientError} if it refuses.
 */
export async function changeKey(change: KeyChange, signal: AbortSignal): Promise<void> {
  const { tokens, former, memory, retry, logger, newClient } = change;
  const { deviceId = "", token = "", keyThumbprint } = memory.state.identity ?? {};
  if (token === "" && (former === undefined || keyThumbprint === tokens.thumbprint)) return;
  if (!(await counts(change, deviceId, signal))) {
    using client = newClient(former?.of(() => deviceId) ?? token);
    const requestId = randomUUID();
    await retry.run(signal, async (attempt) => {
      const claim = { sub: deviceId, requestId };
      const request = {
        requestId,
        publicKey: tokens.signer.publicKeyPem,
        keyProof: await tokens.claim(tokens.signer, claim),
        consent: (await former?.claim(tokens.signer, claim)) ?? "",
      };
      const options = { signal: attempt, timeoutMs: callTimeoutMs };
      await client.unary(replaceDeviceKey, request, options).catch((error: unknown) => {
        if (error instanceof ClientError) for (const each of [tokens, former]) each?.learn(error);
        throw error;
      });
    });
    logger.info({ deviceId }, "the device has another key");
  }
  await memory.update({ identity: { deviceId, token: "", keyThumbprint: tokens.thumbprint } });
}

/** Whether the service knows the key already. */
async function counts(change: KeyChange, deviceId: string, signal: AbortSignal): Promise<boolean> {
  using client = change.newClient(change.tokens.of(() => deviceId));
  try {
    await change.retry.run(signal, (attempt) =>
      client.unary(AccessService.method.whoAmI, {}, { signal: attempt, timeoutMs: callTimeoutMs }),
    );
    return true;
  } catch (error) {
    if (error instanceof ClientError && error.code === status.UNAUTHENTICATED) return false;
    throw error;
  }
}

const { replaceDeviceKey } = DeviceService.method;

/** How long one try may take, in milliseconds. */
const callTimeoutMs = 30_000;
