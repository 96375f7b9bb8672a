import { decodeJwt, decodeProtectedHeader } from "jose";
import { secretKey } from "../../access/secret.ts";
import { deviceBlocked } from "../../call/bearer.ts";
import type { Identity } from "../../call/identity.ts";
import { OtaError } from "../../errors.ts";
import type { Clock } from "../../infra/clock.ts";
import type { Database } from "../../infra/database/database.ts";
import { prepared, sql } from "../../infra/database/sql.ts";
import { type Cacheable, SecondChanceCache } from "../../infra/second-chance-cache.ts";
import type { DeviceChanges } from "../state/device-changes.ts";
import { type DeviceHolder, DeviceHolders } from "../state/device-holders.ts";
import { isDeviceId } from "../state/device-id.ts";
import { storedPublicKey } from "./public-key.ts";
import { type SignedTokenRules, timeWrong, verifySignedToken } from "./signed-token.ts";

/** What {@link DeviceKeys} are made of. */
export interface DeviceKeysParts {
  readonly database: Pick<Database, "pool">;
  readonly changes: Pick<DeviceChanges, "subscribe">;
  readonly clock: Clock;
  readonly rules: SignedTokenRules;
}

/**
 * Says which device signed a JWT: the one in service whose id is its `sub`, if the key that is stored for it verifies it. One that was seen is answered
 * from memory, as long as it has not ended and the device has the same key and is not blocked.
 */
export class DeviceKeys implements Disposable {
  readonly #parts: DeviceKeysParts;
  readonly #holders: DeviceHolders<KeyHolder>;
  readonly #seen = new SecondChanceCache<SeenToken>(maxSeen);

  constructor(parts: DeviceKeysParts) {
    this.#parts = parts;
    this.#holders = new DeviceHolders({ ...parts, load: (ids, readAtMs) => this.#load(ids, readAtMs) });
  }

  /** Whether a JWT says that a device signed it. Nothing follows from that but who is to judge it. */
  static isMeant(token: string): boolean {
    try {
      return decodeProtectedHeader(token).typ === bearerType;
    } catch {
      return false;
    }
  }

  /**
   * Says who signed a token; `beforeLookUp` may refuse to look for a device that is not in memory. Throws (or rejects with)
   * `CREDENTIAL_INVALID`, `TOKEN_TIME_WRONG` and `DEVICE_BLOCKED`.
   */
  identify(token: string, beforeLookUp?: () => void): Identity | Promise<Identity> {
    return this.#identify(token, { again: false, beforeLookUp });
  }

  /** The same of a call that was let in before: it goes on when the token's time is over. */
  identifyAgain(token: string): Identity | Promise<Identity> {
    return this.#identify(token, { again: true });
  }

  [Symbol.dispose](): void {
    this.#holders[Symbol.dispose]();
  }

  #identify(token: string, { again, beforeLookUp }: Look): Identity | Promise<Identity> {
    const place = secretKey(token);
    const deviceId = this.#seen.get(place)?.deviceId ?? subjectOf(token);
    const holder = this.#holders.get(deviceId, beforeLookUp);
    return holder instanceof Promise
      ? holder.then((read) => this.#judge({ token, place, again }, read))
      : this.#judge({ token, place, again }, holder);
  }

  #judge(shown: Shown, holder: KeyHolder | undefined): Identity | Promise<Identity> {
    if (holder === undefined) throw unsigned();
    const seen = this.#seen.get(shown.place);
    if (seen?.publicKey.equals(holder.publicKey) !== true) return this.#verify(shown, holder);
    const now = this.#parts.clock.now();
    if (!shown.again && seen.expiresMs <= now.getTime()) throw timeWrong(now, "has expired");
    return admit(holder, seen);
  }

  async #verify({ token, place, again }: Shown, holder: KeyHolder): Promise<Identity> {
    const { deviceId, publicKey } = holder;
    const key = storedPublicKey(publicKey);
    const { rules, clock } = this.#parts;
    const expected = {
      type: bearerType,
      subject: deviceId,
      publicKey: key,
      rules,
      now: again ? lastMoment(token) : clock.now(),
      refused,
      unsigned,
    };
    const { expiresMs } = await verifySignedToken(token, expected);
    const seen = { deviceId, publicKey, thumbprint: key.thumbprint, expiresMs, used: false };
    this.#seen.set(place, seen);
    return admit(holder, seen);
  }

  async #load(ids: readonly string[], readAtMs: number): Promise<ReadonlyMap<string, KeyHolder>> {
    const rows = await this.#parts.database.pool.query<KeyRow>(keysSql, [ids]);
    return new Map(
      rows.map((row) => [
        row.id,
        { deviceId: row.id, blocked: row.blocked, publicKey: row.public_key, readAtMs, used: false },
      ]),
    );
  }
}

/** The header's `typ` of a JWT that stands for a token: explicit, so that no JWT for something else can (RFC 8725, section 3.11). */
const bearerType = "ota-device+jwt" as const;

/** Some hundred bytes each. */
const maxSeen = 50_000;

/** For what a token is looked at. */
interface Look {
  /** Whether the call was let in before. */
  readonly again: boolean;
  readonly beforeLookUp?: (() => void) | undefined;
}

interface Shown {
  readonly token: string;
  /** Where it is remembered. */
  readonly place: string;
  readonly again: boolean;
}

interface SeenToken extends Cacheable {
  readonly deviceId: string;
  /** By which it was found to be right. */
  readonly publicKey: Buffer;
  readonly thumbprint: string;
  /** Milliseconds since 1970. */
  readonly expiresMs: number;
}

interface KeyHolder extends DeviceHolder {
  readonly blocked: boolean;
  readonly publicKey: Buffer;
}

/** Who does not have the device's key learns nothing of the device: this comes last. */
function admit({ blocked }: KeyHolder, { deviceId, thumbprint }: SeenToken): Identity {
  if (blocked) throw deviceBlocked();
  return { kind: "device", deviceId, credentialId: thumbprint };
}

function subjectOf(token: string): string {
  let sub: unknown;
  try {
    ({ sub } = decodeJwt(token));
  } catch {
    throw refused("its claims are no JSON object");
  }
  if (typeof sub !== "string" || !isDeviceId(sub)) throw refused("its sub is no device's id");
  return sub;
}

/** When a token that was let in once was right for the last time, whatever its `nbf`. */
function lastMoment(token: string): Date {
  return new Date((decodeJwt(token).exp ?? Number.NaN) * 1_000 - 1);
}

/** In the same words whether the device has another key or none: anybody can sign with some key, and would learn which devices there are. */
function unsigned(): OtaError {
  return refused("no key of its device has signed it");
}

function refused(why: string): OtaError {
  return new OtaError(
    "unauthenticated",
    "CREDENTIAL_INVALID",
    `the device's signed token is refused: ${why}`,
    // Why there is no such key is told at the enrolment, to whoever may enrol: the same whether the device is unknown or was shut out.
    { metadata: { enrol_with: "former_device_id" } },
  );
}

interface KeyRow {
  readonly id: string;
  readonly blocked: boolean;
  readonly public_key: Buffer;
}

const keysSql = prepared(
  "device_keys_by_id",
  sql`
  SELECT d.id::text AS id, d.blocked_at IS NOT NULL AS blocked, k.public_key
    FROM device_keys k JOIN devices d ON d.id = k.device_id
   WHERE NOT d.is_deleted AND k.device_id = ANY($1::uuid[])`,
);
