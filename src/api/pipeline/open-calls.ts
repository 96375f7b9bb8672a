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
 * Heartbeat streams and update checks that wait are too many for that: one after the other is looked at, all of them within five
 * minutes, and within seconds where notices were missed. Whatever it is, a call is looked at within a second or two when its device's
 * token changed, as this replica is told, or came to its end.
 */
export class OpenCalls {
  /** Looks at all that are open; runs only while some are. */
  readonly round: Round;
  readonly #credentials: OpenCallsParts["credentials"];
  readonly #clock: Clock;
  readonly #open = new Set<Call>();
  /** What devices have open one each. */
  readonly #many = new Set<Call>();
  /** Those of the many that this pass has still to look at. A set's iterator sees what is added and deleted meanwhile. */
  #pass: Iterator<Call, undefined> | undefined;
  #passMs = manyIntervalMs;
  #nextDevicesMs = Number.NEGATIVE_INFINITY;
  /** Devices of which credentials changed since the last look. */
  #changed = new Set<string>();
  /** Tokens that ended before were looked at; in milliseconds since 1970. */
  #endedBeforeMs: number;

  constructor({ authenticator, credentials, clock, logger }: OpenCallsParts) {
    this.#credentials = credentials;
    this.#clock = clock;
    this.round = new Round({ name: "open_calls", work: () => this.#check(), clock, logger });
    this.#endedBeforeMs = clock.now().getTime();
    authenticator.onChange((deviceId) => {
      // The next look, which comes within a second while there is anything to look at.
      if (deviceId !== undefined && this.#open.size + this.#many.size > 0) this.#changed.add(deviceId);
      if (this.#open.size > 0) this.round.soon(afterChangeMs);
    });
  }

  /** Looks after a call from now on. */
  add(call: Call): void {
    this.#open.add(call);
    this.round.soon(checkIntervalMs);
  }

  /** Looks after a call of which each device may have one, such as its heartbeat stream, from now on. */
  addOneOfMany(call: Call): void {
    this.#many.add(call);
    this.round.soon(checkIntervalMs);
  }

  /** Forgets a call that has ended, if it was looked after. */
  delete(call: Call): void {
    this.#open.delete(call);
    this.#many.delete(call);
  }

  /** Notices of devices and of credentials may have been lost until now: looks at all calls soon. */
  noticesMissed(): void {
    this.#nextDevicesMs = Number.NEGATIVE_INFINITY;
    this.#pass = undefined;
    this.#passMs = missedIntervalMs;
    if (this.#open.size + this.#many.size > 0) this.round.soon(checkIntervalMs);
  }

  /** Cuts what a device has open, but for the many, of which others are told. */
  disconnect(deviceId: string, why: OtaError): void {
    for (const call of this.#open) {
      if (call.identity.kind === "device" && call.identity.deviceId === deviceId) call.abort(why);
    }
  }

  async #check(): Promise<void> {
    const nowMs = this.#clock.monotonicMs();
    const all = nowMs >= this.#nextDevicesMs;
    if (all) this.#nextDevicesMs = nowMs + devicesIntervalMs;
    const looked = new Set(this.#suspects());
    for (const call of this.#open) if (all || call.identity.kind === "operator") looked.add(call);
    for (const call of this.#nextOfMany()) looked.add(call);
    await Promise.all(Array.from(looked, (call) => this.#cutIfRefused(call)));
    if (this.#open.size + this.#many.size > 0) this.round.soon(checkIntervalMs);
  }

  /** Calls of devices whose token changed or ended since the last look. */
  *#suspects(): Generator<Call> {
    const changed = this.#changed;
    this.#changed = new Set();
    const endedBeforeMs = this.#endedBeforeMs - overlapMs;
    const nowMs = this.#clock.now().getTime();
    this.#endedBeforeMs = nowMs;
    for (const calls of [this.#open, this.#many]) {
      for (const call of calls) {
        if (call.identity.kind !== "device") continue;
        const { deviceId, expiresMs } = call.identity;
        const hasEnded = expiresMs !== undefined && expiresMs <= nowMs && expiresMs > endedBeforeMs;
        if (hasEnded || changed.has(deviceId)) yield call;
      }
    }
  }

  /** So many that the pass ends in time. */
  #nextOfMany(): Call[] {
    this.#pass ??= this.#many.values();
    const next: Call[] = [];
    for (let count = Math.ceil((this.#many.size * checkIntervalMs) / this.#passMs); count > 0; count--) {
      const { value } = this.#pass.next();
      if (value === undefined) {
        this.#pass = undefined;
        this.#passMs = manyIntervalMs;
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
const manyIntervalMs = 300_000;

/** A call may be let in just before its token ends, and begin to last a little later. */
const overlapMs = 5_000;

/** The same after notices were missed: 5,000 a second, in a few statements. */
const missedIntervalMs = 10_000;

/** A change is heard of at once; many of them, as when a fleet enrols, are one look, at operators' calls, which are few. */
const afterChangeMs = 100;

/** Of a credential that is no more, and of a device that is blocked. */
const refused: ReadonlySet<string> = new Set(["unauthenticated", "permission_denied"]);
