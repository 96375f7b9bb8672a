import type { AuditLog } from "../../access/audit-log.ts";
import type { DeviceCredentials, DeviceToken } from "../../access/device-credentials.ts";
import { actorOf, callingDevice, type Identity } from "../../call/identity.ts";
import { OtaError } from "../../errors.ts";
import type { Database } from "../../infra/database/database.ts";
import { lockCaller } from "./caller-lock.ts";

/** What {@link TokenRotation} is made of. */
export interface TokenRotationParts {
  readonly database: Pick<Database, "transact">;
  readonly credentials: DeviceCredentials;
  readonly audit: AuditLog;
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
}

function noToken(): OtaError {
  return new OtaError(
    "failed_precondition",
    "NO_TOKEN",
    "the device comes with a certificate or a key of its own, and has no token",
  );
}
