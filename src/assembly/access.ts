import { AuditChain } from "../access/audit-chain.ts";
import { AuditLog } from "../access/audit-log.ts";
import { Authenticator } from "../access/authenticator.ts";
import { adoptChosenSecrets, type FirstSecrets, makeFirstSecrets } from "../access/bootstrap.ts";
import { DeviceCredentials } from "../access/device-credentials.ts";
import { EndedSessions } from "../access/ended-sessions.ts";
import { EnrolmentKeys } from "../access/enrolment-keys.ts";
import { warnOfExpiringKeys } from "../access/expiring-signing-keys.ts";
import { warnOfLastAdministrator } from "../access/last-administrator.ts";
import { OperatorTokens } from "../access/operator-tokens.ts";
import { RefusedCalls } from "../access/refused-calls.ts";
import { serviceSecret } from "../access/service-secrets.ts";
import { SignatureRequirements } from "../access/signature-requirements.ts";
import { type SigningKeyRevoked, SigningKeys } from "../access/signing-keys.ts";
import { TokenUses } from "../access/token-uses.ts";
import { PageTokens } from "../call/page-token.ts";
import { parseDeviceFilter } from "../device/filter/device-filter.ts";
import type { Foundation } from "./foundation.ts";

/** Who may call, and the keys that count. */
export type Access = Awaited<ReturnType<typeof openAccess>>;

/** Opens the access feature and makes chosen secrets work. `revoked` is told of signing keys. */
export async function openAccess(
  { config, logger, clock, background, database, idempotency }: Foundation,
  opened: AsyncDisposableStack,
  revoked: SigningKeyRevoked,
) {
  const audit = new AuditLog({ database });
  const chain = new AuditChain({ database, clock, logger, anchorEveryMs: config.audit.anchorMs });
  opened.adopt(chain.round, (it) => it.close());
  background.add(chain.round);
  chain.round.start();
  const uses = opened.adopt(new TokenUses({ database, clock, logger }), (it) => it.close());
  background.add(uses.writer);
  const refusals = opened.adopt(new RefusedCalls({ database, clock, logger }), (it) => it.close());
  background.add(refusals.writer);
  const authenticator = opened.adopt(new Authenticator({ database, clock, uses }), (it) => it.close());
  const bootstrap = {
    database,
    audit,
    memory: authenticator,
    clock,
    logger,
    adminToken: config.adminToken,
    enrolmentKey: config.enrolmentKey,
  };
  await adoptChosenSecrets(bootstrap);
  const endedSessions = opened.adopt(new EndedSessions({ database, clock, logger }), (it) => it.close());
  background.add(endedSessions.round);
  await endedSessions.start();
  const hourly = (name: string, look: typeof warnOfExpiringKeys) =>
    background.round({
      name,
      everyMs: 60 * 60_000,
      atOnce: true,
      work: () => look({ database, clock, logger }),
    });
  hourly("signing_keys", warnOfExpiringKeys);
  const credentials = new DeviceCredentials({
    clock,
    memory: authenticator,
    tokenLifeMs: config.deviceTokenLifeMs,
  });
  const enrolmentKeys = new EnrolmentKeys({ database, idempotency, audit, clock });
  const tokens = new OperatorTokens({
    database,
    idempotency,
    audit,
    memory: authenticator,
    clock,
    checkDeviceFilter: (text) => void parseDeviceFilter(text, "device_filter"),
  });
  const signingKeys = new SigningKeys({
    database,
    audit,
    clock,
    revoked,
  });
  const requirements = new SignatureRequirements({ database, audit, clock });
  const pageTokens = new PageTokens(await serviceSecret(database, "page tokens"));
  return {
    audit,
    authenticator,
    credentials,
    endedSessions,
    enrolmentKeys,
    tokens,
    signingKeys,
    requirements,
    pageTokens,
    refusals,
    /** Lets somebody in who never was, once the doors are open; see {@link makeFirstSecrets}. */
    letFirstIn: async (show: ((secrets: FirstSecrets) => Promise<void>) | undefined) => {
      if (show !== undefined) await makeFirstSecrets(bootstrap, show);
      hourly("administrators", warnOfLastAdministrator);
    },
  };
}
