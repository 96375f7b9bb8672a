import { AuditLog } from "../../src/access/audit-log.ts";
import { Authenticator } from "../../src/access/authenticator.ts";
import { DeviceCredentials } from "../../src/access/device-credentials.ts";
import { EnrolmentKeys } from "../../src/access/enrolment-keys.ts";
import { OperatorTokens } from "../../src/access/operator-tokens.ts";
import { SignatureRequirements } from "../../src/access/signature-requirements.ts";
import { type SigningKeyRevoked, SigningKeys } from "../../src/access/signing-keys.ts";
import { entities } from "../../src/entities.ts";
import { Database } from "../../src/infra/database/database.ts";
import { IdempotencyKeys } from "../../src/infra/database/idempotency-keys.ts";
import { createLogger } from "../../src/infra/logger.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { createTestDatabase } from "../support/postgres.ts";

export const silent = createLogger({ level: "silent", pretty: false });

/** One replica's access classes on a database; the clock stands still until the test moves it. */
export interface AccessReplica extends AsyncDisposable {
  readonly url: string;
  readonly database: Database;
  readonly clock: FakeClock;
  readonly audit: AuditLog;
  readonly authenticator: Authenticator;
  readonly tokens: OperatorTokens;
  readonly enrolmentKeys: EnrolmentKeys;
  readonly credentials: DeviceCredentials;
  readonly signingKeys: SigningKeys;
  readonly requirements: SignatureRequirements;
  readonly idempotency: IdempotencyKeys;
}

/** A replica on a database of its own. */
export async function startAccess(revoked: SigningKeyRevoked = pausesNothing): Promise<AccessReplica> {
  await using cleanup = new AsyncDisposableStack();
  const { url } = cleanup.use(await createTestDatabase());
  const replica = cleanup.use(await joinAccess(url, revoked));
  const all = cleanup.move();
  return { ...replica, [Symbol.asyncDispose]: () => all.disposeAsync() };
}

/** Another replica on the same database. */
export async function joinAccess(
  url: string,
  revoked: SigningKeyRevoked = pausesNothing,
): Promise<AccessReplica> {
  const database = await Database.connect({ url, logger: silent, entities });
  const clock = new FakeClock(new Date());
  const audit = new AuditLog({ database });
  const idempotency = new IdempotencyKeys();
  const authenticator = new Authenticator({ database, clock });
  await heard(database);
  const parts = { database, idempotency, audit, memory: authenticator, clock };
  return {
    url,
    database,
    clock,
    audit,
    authenticator,
    tokens: new OperatorTokens({ ...parts, checkDeviceFilter: () => undefined }),
    enrolmentKeys: new EnrolmentKeys(parts),
    credentials: new DeviceCredentials({ clock, memory: authenticator }),
    signingKeys: new SigningKeys({ database, audit, clock, revoked }),
    requirements: new SignatureRequirements({ database, audit, clock }),
    idempotency,
    async [Symbol.asyncDispose]() {
      authenticator.close();
      await database.close();
    },
  };
}

/** Waits until the channels that were listened to before are heard, so that nothing is read again for that reason. */
export async function heard(database: Database): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const stop = database.listen("fixture", { listening: resolve, notified: () => undefined });
  await promise;
  stop();
}

const pausesNothing: SigningKeyRevoked = { signingKeyRevoked: async () => 0 };
