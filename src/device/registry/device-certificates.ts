import { credentialRevoked, deviceBlocked } from "../../call/bearer.ts";
import {
  type CertificateHolders,
  type ClientCertificate,
  certificateInvalid,
  certificateUnknown,
} from "../../call/client-certificate.ts";
import type { Identity } from "../../call/identity.ts";
import { serialNumberFault } from "../../device-names.ts";
import type { Clock } from "../../infra/clock.ts";
import type { Database } from "../../infra/database/database.ts";
import { prepared, sql } from "../../infra/database/sql.ts";
import type { DeviceChanges } from "../state/device-changes.ts";
import { type DeviceHolder, DeviceHolders } from "../state/device-holders.ts";
import { isDeviceId } from "../state/device-id.ts";

/** What {@link DeviceCertificates} are made of. */
export interface DeviceCertificatesParts {
  readonly database: Pick<Database, "pool">;
  readonly changes: Pick<DeviceChanges, "subscribe">;
  readonly clock: Clock;
  /** What of a device its certificate names. */
  readonly names: "serial_number" | "id";
}

/** Says which device a certificate is: the one in service that has its name. */
export class DeviceCertificates implements CertificateHolders<Identity>, Disposable {
  readonly #parts: DeviceCertificatesParts;
  readonly #holders: DeviceHolders<Holder>;

  constructor(parts: DeviceCertificatesParts) {
    this.#parts = parts;
    this.#holders = new DeviceHolders({ ...parts, load: (names, readAtMs) => this.#load(names, readAtMs) });
  }

  identify(certificate: ClientCertificate, beforeLookUp?: () => void): Identity | Promise<Identity> {
    if (certificate.expiresAt <= this.#parts.clock.now()) throw certificateInvalid("it has ended");
    const { name } = certificate;
    if (!this.#isName(name)) throw certificateUnknown(name);
    const holder = this.#holders.get(name, beforeLookUp);
    return holder instanceof Promise
      ? holder.then((read) => admit(read, certificate))
      : admit(holder, certificate);
  }

  [Symbol.dispose](): void {
    this.#holders[Symbol.dispose]();
  }

  #isName(name: string): boolean {
    return this.#parts.names === "id" ? isDeviceId(name) : serialNumberFault(name) === undefined;
  }

  async #load(names: readonly string[], readAtMs: number): Promise<ReadonlyMap<string, Holder>> {
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

/** A device as its certificates are judged by. */
interface Holder extends DeviceHolder {
  readonly blocked: boolean;
  /** Certificates from before do not count, since an operator reset the device; but for the one with this digest. */
  readonly since: Date | null;
  readonly sha256: Buffer | null;
}

function admit(holder: Holder | undefined, { name, issuedAt, sha256 }: ClientCertificate): Identity {
  if (holder === undefined) throw certificateUnknown(name);
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
