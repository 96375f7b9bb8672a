import { OtaError } from "../../errors.ts";
import { Round } from "../../infra/background/round.ts";
import type { Clock } from "../../infra/clock.ts";
import type { Logger } from "../../infra/logger.ts";
import type { Call, CallerIdentifier } from "./call.ts";
import type { CredentialGuard } from "./credential-guard.ts";

/** What {@link OpenCalls} are made of. */
export interface OpenCallsParts {
  readonly authenticator: Pick<CallerIdentifier, "onChange">;
  readonly credentials: Pick<CredentialGuard, "identifyAgain">;
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * Calls that stay open: watches, downloads, uploads, exports. A call is admitted once, but may last for hours or days: one whose
 * credential was revoked or has expired, or whose device was blocked, is cut within a second or two, on all replicas and at every
 * door. Of devices this replica is told, as heartbeat streams are, and each half minute it looks for what it was not told of, such as
 * the end of a token. A device that comes with its next token, or signs another one, goes on with what it has open.
 *
 * Heartbeat streams are too many for that: one after the other is looked at, all of them within five minutes, and within seconds where
 * notices were missed.
 */
export class OpenCalls {
  /** Looks at all that are open; runs only while some are. */
  readonly round: Round;
  readonly #credentials: OpenCallsParts["credentials"];
  readonly #clock: Clock;
  readonly #open = new Set<Call>();
  readonly #streams = new Set<Call>();
  /** The heartbeat streams that this pass has still to look at. A set's iterator sees what is added and deleted meanwhile. */
  #pass: Iterator<Call, undefined> | undefined;
  #passMs = streamsIntervalMs;
  #nextDevicesMs = Number.NEGATIVE_INFINITY;

  constructor({ authenticator, credentials, clock, logger }: OpenCallsParts) {
    this.#credentials = credentials;
    this.#clock = clock;
    this.round = new Round({ name: "open_calls", work: () => this.#check(), clock, logger });
    authenticator.onChange(() => {
      if (this.#open.size > 0) this.round.soon(afterChangeMs);
    });
  }

  /** Looks after a call from now on. */
  add(call: Call): void {
    this.#open.add(call);
    this.round.soon(checkIntervalMs);
  }

  /** Looks after a device's heartbeat stream from now on. */
  addHeartbeats(call: Call): void {
    this.#streams.add(call);
    this.round.soon(checkIntervalMs);
  }

  /** Forgets a call that has ended, if it was looked after. */
  delete(call: Call): void {
    this.#open.delete(call);
    this.#streams.delete(call);
  }

  /** Notices of devices and of credentials may have been lost until now: looks at all calls soon. */
  noticesMissed(): void {
    this.#nextDevicesMs = Number.NEGATIVE_INFINITY;
    this.#pass = undefined;
    this.#passMs = missedIntervalMs;
    if (this.#open.size + this.#streams.size > 0) this.round.soon(checkIntervalMs);
  }

  /** Cuts what a device has open, but for its heartbeat stream. */
  disconnect(deviceId: string, why: OtaError): void {
    for (const call of this.#open) {
      if (call.identity.kind === "device" && call.identity.deviceId === deviceId) call.abort(why);
    }
  }

  async #check(): Promise<void> {
    const nowMs = this.#clock.monotonicMs();
    const all = nowMs >= this.#nextDevicesMs;
    if (all) this.#nextDevicesMs = nowMs + devicesIntervalMs;
    const looked = [...this.#open].filter(({ identity }) => all || identity.kind === "operator");
    await Promise.all([...looked, ...this.#nextStreams()].map((call) => this.#cutIfRefused(call)));
    if (this.#open.size + this.#streams.size > 0) this.round.soon(checkIntervalMs);
  }

  /** So many that the pass ends in time. */
  #nextStreams(): Call[] {
    this.#pass ??= this.#streams.values();
    const next: Call[] = [];
    for (let count = Math.ceil((this.#streams.size * checkIntervalMs) / this.#passMs); count > 0; count--) {
      const { value } = this.#pass.next();
      if (value === undefined) {
        this.#pass = undefined;
        this.#passMs = streamsIntervalMs;
        break;
      }
      next.push(value);
    }
    return next;
  }

  async #cutIfRefused(call: Call): Promise<void> {
    try {
      await this.#credentials.identifyAgain(call);
    } catch (error) {
      // An outage of the database says nothing about the token.
      if (error instanceof OtaError && refused.has(error.code)) call.abort(error);
    }
  }
}

/** A look in memory each, of some 3 us: what expires is found out by looking. */
const checkIntervalMs = 1_000;

/** How long a notice may be lost: as for a credential in memory. */
const devicesIntervalMs = 30_000;

/** A look in the database each, as they are seldom used: 170 a second of 50,000 streams. */
const streamsIntervalMs = 300_000;

/** The same after notices were missed: 5,000 a second, in a few statements. */
const missedIntervalMs = 10_000;

/** A change is heard of at once; many of them, as when a fleet enrols, are one look, at operators' calls, which are few. */
const afterChangeMs = 100;

/** Of a credential that is no more, and of a device that is blocked. */
const refused: ReadonlySet<string> = new Set(["unauthenticated", "permission_denied"]);
