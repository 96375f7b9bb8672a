import { credentialRevoked, deviceBlocked } from "../../call/bearer.ts";
import {
  type CertificateHolders,
  type ClientCertificate,
  certificateInvalid,
  certificateUnknown,
} from "../../call/client-certificate.ts";
import type { Identity } from "../../call/identity.ts";
import { serialNumberFault } from "../../device-names.ts";
import { BatchLoader } from "../../infra/batch-loader.ts";
import type { Clock } from "../../infra/clock.ts";
import type { Database } from "../../infra/database/database.ts";
import { asDatabaseError } from "../../infra/database/errors.ts";
import { prepared, sql } from "../../infra/database/sql.ts";
import { type Cacheable, SecondChanceCache } from "../../infra/second-chance-cache.ts";
import type { DeviceChange, DeviceChangeListener, DeviceChanges } from "../state/device-changes.ts";

/** What {@link DeviceCertificates} are made of. */
export interface DeviceCertificatesParts {
  readonly database: Pick<Database, "pool">;
  readonly changes: Pick<DeviceChanges, "subscribe">;
  readonly clock: Clock;
  /** What of a device its certificate names. */
  readonly names: "serial_number" | "id";
}

/**
 * Says which device a certificate is: the one in service that has its name. It is believed as long as a token is, and forgotten
 * with every change of the device, so that what was blocked, retired or reset is out as soon as with a token.
 */
export class DeviceCertificates implements CertificateHolders<Identity>, DeviceChangeListener, Disposable {
  readonly #parts: DeviceCertificatesParts;
  /** By the name in certificates. */
  readonly #known = new SecondChanceCache<Holder>(maxHolders);
  /** The names of those, by device. */
  readonly #names = new SecondChanceCache<{ readonly name: string; used: boolean }>(maxHolders);
  readonly #loader: BatchLoader<Holder>;
  readonly #unsubscribe: () => void;
  /** Devices that changed while names were loading: what was read of them may be from before. */
  readonly #changedInLoads = new Set<string>();
  /** Since when every change was heard of, by the monotonic clock. */
  #heardSinceMs = Number.NEGATIVE_INFINITY;

  constructor(parts: DeviceCertificatesParts) {
    this.#parts = parts;
    this.#loader = new BatchLoader({
      load: (names) => this.#load(names),
      settled: (name, holder) => {
        if (holder === undefined || this.#changedInLoads.has(holder.deviceId)) return;
        this.#known.set(name, holder);
        this.#names.set(holder.deviceId, { name, used: false });
      },
      maxBatch: 1_000,
      maxPending: maxPendingLookups,
    });
    this.#unsubscribe = parts.changes.subscribe(this);
  }

  identify(certificate: ClientCertificate, beforeLookUp?: () => void): Identity | Promise<Identity> {
    if (certificate.expiresAt <= this.#parts.clock.now()) throw certificateInvalid("it has ended");
    const { name } = certificate;
    if (!this.#isName(name)) throw certificateUnknown(name);
    const known = this.#known.get(name);
    const sinceMs = this.#parts.clock.monotonicMs() - freshForMs;
    if (known !== undefined && known.readAtMs >= Math.max(this.#heardSinceMs, sinceMs))
      return admit(known, certificate);
    if (known === undefined) beforeLookUp?.();
    return this.#read(certificate, known);
  }

  deviceChanged({ deviceId }: DeviceChange): void {
    if (this.#loader.size > 0) this.#changedInLoads.add(deviceId);
    else this.#changedInLoads.clear();
    const name = this.#names.get(deviceId)?.name;
    if (name === undefined) return;
    this.#known.delete(name);
    this.#loader.changed(name);
  }

  changesMissed(): void {
    this.#heardSinceMs = this.#parts.clock.monotonicMs();
  }

  [Symbol.dispose](): void {
    this.#unsubscribe();
  }

  #isName(name: string): boolean {
    return this.#parts.names === "id" ? isUuid.test(name) : serialNumberFault(name) === undefined;
  }

  async #read(certificate: ClientCertificate, known: Holder | undefined): Promise<Identity> {
    const { name } = certificate;
    let found: Holder | undefined;
    try {
      found = await this.#loader.get(name);
    } catch (error) {
      const outage = asDatabaseError(error);
      if (outage === undefined) throw error;
      // While the database is away nobody can change anything, so what was true a moment ago still is.
      if (known !== undefined && this.#parts.clock.monotonicMs() - known.readAtMs < trustedForMs)
        return admit(known, certificate);
      throw outage;
    }
    if (found === undefined) {
      this.#known.delete(name);
      throw certificateUnknown(name);
    }
    return admit(found, certificate);
  }

  async #load(names: readonly string[]): Promise<ReadonlyMap<string, Holder>> {
    const readAtMs = this.#parts.clock.monotonicMs();
    const statement = this.#parts.names === "id" ? byIdSql : bySerialNumberSql;
    const rows = await this.#parts.database.pool.query<HolderRow>(statement, [names]);
    return new Map(
      rows.map(({ name, id, blocked, since, sha256 }) => [
        name,
        { deviceId: id, blocked, since, sha256, readAtMs, used: false },
      ]),
    );
  }
}

/** As of tokens. */
const freshForMs = 30_000;
const trustedForMs = 5 * 60_000;
const maxHolders = 300_000;
const maxPendingLookups = 20_000;

const isUuid = /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/;

/** A device as its certificates are judged by. */
interface Holder extends Cacheable {
  readonly deviceId: string;
  readonly blocked: boolean;
  /** Certificates from before do not count, since an operator reset the device; but for the one with this digest. */
  readonly since: Date | null;
  readonly sha256: Buffer | null;
  /** Monotonic milliseconds of the start of the read: what changed later is not in it. */
  readonly readAtMs: number;
}

function admit(holder: Holder, { issuedAt, sha256 }: ClientCertificate): Identity {
  const { deviceId, blocked, since } = holder;
  if (blocked) throw deviceBlocked();
  if (since !== null && issuedAt < since && holder.sha256?.equals(sha256) !== true) throw credentialRevoked();
  return { kind: "device", deviceId, credentialId: sha256.toString("hex") };
}

interface HolderRow {
  readonly name: string;
  readonly id: string;
  readonly blocked: boolean;
  readonly since: Date | null;
  readonly sha256: Buffer | null;
}

const bySerialNumberSql = prepared(
  "device_holders_by_serial_number",
  sql`
  SELECT serial_number AS name, id, blocked_at IS NOT NULL AS blocked, certificates_since AS since,
         certificate_sha256 AS sha256
    FROM devices WHERE NOT is_deleted AND serial_number = ANY($1::text[])`,
);

const byIdSql = prepared(
  "device_holders_by_id",
  sql`
  SELECT id::text AS name, id, blocked_at IS NOT NULL AS blocked, certificates_since AS since,
         certificate_sha256 AS sha256
    FROM devices WHERE NOT is_deleted AND id = ANY($1::uuid[])`,
);
