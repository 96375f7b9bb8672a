import { LockMode } from "@mikro-orm/core";
import type { AuditLog } from "../../access/audit-log.ts";
import type { DeviceCredentials } from "../../access/device-credentials.ts";
import { credentialRevoked, deviceBlocked } from "../../call/bearer.ts";
import { actorOf, callingDevice, type Identity } from "../../call/identity.ts";
import { OtaError } from "../../errors.ts";
import type { Database } from "../../infra/database/database.ts";
import { DeviceEntity } from "../state/device.entity.ts";

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
  async rotate(identity: Identity): Promise<string> {
    const { database, credentials, audit } = this.#parts;
    const deviceId = callingDevice(identity, "have such tokens");
    const credentialId = identity.kind === "device" ? identity.credentialId : "";
    if (!isUuid.test(credentialId)) throw noToken();
    const { token, replaced } = await database.transact(
      async (em) => {
        const device = await em.findOne(DeviceEntity, deviceId, { lockMode: LockMode.PESSIMISTIC_WRITE });
        if (device === null || !(await credentials.isLive(em, deviceId, credentialId)))
          throw credentialRevoked();
        if (device.blockedAt !== null) throw deviceBlocked();
        const next = await credentials.issueNext(em, deviceId, credentialId);
        await audit.record(em, {
          actor: actorOf(identity),
          action: "device.rotate_token",
          resourceType: "device",
          resourceId: deviceId,
          details: { unused_count: String(next.replaced.length) },
        });
        return next;
      },
      { retry: { attempts: 5 } },
    );
    credentials.forget(replaced);
    return token;
  }
}

/** Of a token's row; certificates and keys are named by digests. */
const isUuid = /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/;

function noToken(): OtaError {
  return new OtaError(
    "failed_precondition",
    "NO_TOKEN",
    "the device comes with a certificate or a key of its own, and has no token",
  );
}
