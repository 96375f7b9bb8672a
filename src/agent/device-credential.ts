import type { Logger } from "pino";
import type { RpcClient } from "../client/rpc-client.ts";
import type { TokenSource } from "../client/token-source.ts";
import type { Clock } from "../infra/clock.ts";
import type { DeviceMemory } from "./device-memory.ts";
import type { DeviceSigner } from "./device-signer.ts";
import { type Enrolment, enrolDevice } from "./enrol.ts";
import { changeKey } from "./key-change.ts";
import type { NetworkGate } from "./network-gate.ts";
import { ReEnrolment } from "./re-enrolment.ts";
import { Retry } from "./retry.ts";
import { SignedTokens } from "./signed-tokens.ts";
import { rotateToken, TokenKeeper, type TokenRotationOptions } from "./token-rotation.ts";

/** Which credential a device shall have, and how it comes to one. */
export interface CredentialOptions {
  /** Whether the TLS credentials hold a certificate of the device's own, which stands for token and enrolment key. */
  readonly certified?: boolean;
  /** The device's own key, which is then its credential instead of a token. */
  readonly signer?: DeviceSigner | undefined;
  /** The key that it had before, with which it consents to the new one. */
  readonly formerSigner?: DeviceSigner | undefined;
  /** How the service calls itself in the JWTs that devices sign. Default `device-ota`. */
  readonly audience?: string | undefined;
  /** From which age on the device exchanges its token when it starts, in milliseconds. Default 30 days. */
  readonly maxTokenAgeMs?: number | undefined;
  /** How to enrol, for a device that has no credential in its storage yet. */
  readonly enrolment: Enrolment;
  readonly deviceType: string;
  readonly hardwareModel: string;
  readonly logger: Logger;
  readonly clock: Clock;
  /** Random numbers in [0, 1), for jitter. Default `Math.random`. */
  readonly random?: () => number;
  /** Upper bound of the waits between tries, in milliseconds. Default 60 s. */
  readonly maxRetryPauseMs?: number | undefined;
}

/** What a {@link DeviceCredential} is made of. */
export interface DeviceCredentialParts extends CredentialOptions {
  readonly memory: DeviceMemory;
  readonly gate: NetworkGate;
  readonly newClient: (token: string | TokenSource | undefined) => RpcClient;
}

/** What a device shows to the service: a token, what its own key signs, or its certificate. How it comes to that, and keeps it. */
export class DeviceCredential {
  readonly #parts: DeviceCredentialParts;
  /** Of its own key, if it has one. */
  readonly #tokens: SignedTokens | undefined;

  constructor(parts: DeviceCredentialParts) {
    this.#parts = parts;
    this.#tokens = this.#tokensOf(parts.signer);
  }

  /**
   * Enrols a device that is not enrolled; another one changes to its key, or exchanges its token, if need be. Errors as those of
   * {@link enrolDevice} and {@link changeKey}.
   */
  async obtain(firmwareVersion: string, signal: AbortSignal): Promise<void> {
    if (this.#parts.memory.state.identity === undefined) return await this.#enrol(firmwareVersion, signal);
    await this.#changeKey(signal);
    await this.#rotateToken(signal);
  }

  /** What brings the device back if the service does not know it any more. */
  renewal(firmwareVersion: string): ReEnrolment {
    const { certified = false, enrolment, random = Math.random } = this.#parts;
    return new ReEnrolment({
      ...this.#parts,
      certified,
      random,
      hasKey: enrolment.enrolmentKey !== "",
      enrol: (signal, formerDeviceId) => this.#enrol(firmwareVersion, signal, formerDeviceId),
    });
  }

  /** What calls are made with; undefined if the device's certificate is its credential, or it is not enrolled. */
  source(): TokenSource | undefined {
    const { memory } = this.#parts;
    const { identity } = memory.state;
    if (identity === undefined) return undefined;
    if (identity.token === "") return this.#tokens?.of(() => memory.state.identity?.deviceId ?? "");
    // The one of the moment: it may be exchanged while the device runs.
    return { token: () => memory.state.identity?.token ?? "", refused: () => undefined };
  }

  /** Keeps the token of a running device young. */
  keeper(client: RpcClient): TokenKeeper {
    return new TokenKeeper(this.#rotation(client));
  }

  async #enrol(firmwareVersion: string, signal: AbortSignal, formerDeviceId?: string): Promise<void> {
    const { certified = false, newClient, random = Math.random } = this.#parts;
    using client = newClient(undefined);
    const own = { client, certified, tokens: this.#tokens, firmwareVersion, formerDeviceId, random };
    await enrolDevice({ ...this.#parts, ...own }, signal);
  }

  async #changeKey(signal: AbortSignal): Promise<void> {
    if (this.#tokens === undefined) return;
    const {
      formerSigner,
      gate,
      logger,
      maxRetryPauseMs,
      memory,
      newClient,
      random = Math.random,
    } = this.#parts;
    const former = this.#tokensOf(formerSigner);
    const retry = new Retry({ gate, logger, random, maxRetryPauseMs });
    await changeKey({ tokens: this.#tokens, former, memory, retry, logger, newClient }, signal);
  }

  async #rotateToken(signal: AbortSignal): Promise<void> {
    const { memory, newClient } = this.#parts;
    const token = memory.state.identity?.token ?? "";
    if (token === "") return;
    using client = newClient(token);
    await rotateToken(this.#rotation(client), signal);
  }

  #rotation(client: RpcClient): TokenRotationOptions {
    const { clock, logger, maxTokenAgeMs: maxAgeMs = 30 * 86_400_000, memory } = this.#parts;
    return { client, memory, clock, logger, maxAgeMs };
  }

  /** What a key of the device's own signs. */
  #tokensOf(signer: DeviceSigner | undefined): SignedTokens | undefined {
    const { audience = "device-ota", clock } = this.#parts;
    return signer && new SignedTokens({ signer, audience, clock });
  }
}
