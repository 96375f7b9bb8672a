import type { AuditLog } from "../../access/audit-log.ts";
import type { DeviceCredentials, DeviceToken } from "../../access/device-credentials.ts";
import { actorOf, callingDevice, type Identity } from "../../call/identity.ts";
import { OtaError } from "../../errors.ts";
import type { Database } from "../../infra/database/database.ts";
import { sql } from "../../infra/database/sql.ts";
import type { DeviceChanges } from "../state/device-changes.ts";
import { canBeAsked } from "./batch-update.ts";
import { lockCaller } from "./caller-lock.ts";
import type { DeviceVerb } from "./device-registry.ts";

/** What {@link TokenRotation} is made of. */
export interface TokenRotationParts {
  readonly database: Pick<Database, "transact">;
  readonly credentials: DeviceCredentials;
  readonly audit: AuditLog;
  readonly changes: Pick<DeviceChanges, "publish">;
}

/** How a device comes to another token without a moment in which none works. */
export class TokenRotation {
  readonly #parts: TokenRotationParts;

  constructor(parts: TokenRotationParts) {
    this.#parts = parts;
  }

  /**
   * Gives the calling device its next token. Throws `NO_TOKEN` for one that comes with something else, `CREDENTIAL_REVOKED` if its token
   * stopped working meanwhile, and `DEVICE_BLOCKED`.
   */
  async rotate(identity: Identity): Promise<DeviceToken> {
    const { database, credentials, audit } = this.#parts;
    const deviceId = callingDevice(identity, "have such tokens");
    if (identity.kind !== "device" || identity.hasToken !== true) throw noToken();
    const { credentialId } = identity;
    const { replaced, ...next } = await database.transact(
      async (em) => {
        await lockCaller(em, deviceId, () => credentials.isLive(em, deviceId, credentialId));
        const issued = await credentials.issueNext(em, deviceId, credentialId);
        await audit.record(em, {
          actor: actorOf(identity),
          action: "device.rotate_token",
          resourceType: "device",
          resourceId: deviceId,
          details: { unused_count: String(issued.replaced.length) },
        });
        return issued;
      },
      { retry: { attempts: 5 } },
    );
    credentials.forget(replaced);
    return next;
  }

  /**
   * Wants a device to exchange the token that it has: it is told until it uses a newer one. Says whether that is new; a device without a token,
   * one that is asked already and one out of service stay as they are.
   */
  async request({ actor, id, reason }: DeviceVerb): Promise<boolean> {
    const { database, credentials, audit, changes } = this.#parts;
    const hashes = await database.transact(
      async (em, session) => {
        const [asked] = await session.query<{ serial_number: string }>(requestSql, [id]);
        if (asked === undefined) return undefined;
        await audit.record(em, {
          actor,
          action: "device.request_token_rotation",
          resourceType: "device",
          resourceId: id,
          reason,
          details: { serial_number: asked.serial_number },
        });
        return await credentials.live(em, id);
      },
      { retry: { attempts: 5 } },
    );
    if (hashes === undefined) return false;
    // Its calls are told once its token is read again.
    credentials.forget(hashes);
    changes.publish({ deviceId: id, kind: "token_rotation_requested" });
    return true;
  }
}

const requestSql = sql`
  UPDATE devices d SET token_rotation_requested_at = now(), updated_at = now()
   WHERE d.id = $1 AND NOT d.is_deleted AND ${canBeAsked} RETURNING d.serial_number`;

function noToken(): OtaError {
  return new OtaError(
    "failed_precondition",
    "NO_TOKEN",
    "the device comes with a certificate or a key of its own, and has no token",
  );
}
