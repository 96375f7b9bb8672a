import { v7 as uuidv7 } from "uuid";
import type { Database } from "../infra/database/database.ts";
import { AuditEventEntity } from "./audit-event.entity.ts";
import { AuditLog } from "./audit-log.ts";
import { firstOwner } from "./bootstrap.ts";
import { OperatorTokenEntity } from "./operator-token.entity.ts";
import { newSecret } from "./secret.ts";

/** The entities that {@link makeAdministrator} works with. */
export const administratorEntities = [OperatorTokenEntity, AuditEventEntity];

/**
 * Makes an administrator's token for whoever lost theirs, and shows it: it works only after it was shown. Other tokens stay as
 * they are. For those who have the database anyway: nobody else is asked. The audit log tells.
 */
export async function makeAdministrator(
  database: Database,
  now: Date,
  show: (secret: string) => Promise<void>,
): Promise<void> {
  const audit = new AuditLog({ database });
  const secret = newSecret("operator");
  const id = uuidv7();
  const name = `reset ${now.toISOString()}`;
  await database.transact(
    async (em) => {
      await em.insert(OperatorTokenEntity, {
        id,
        name,
        // Whoever has the database knows what the first start made too: they never approve each other.
        owner: firstOwner,
        role: "admin",
        secretHash: secret.hash,
        requestId: null,
        creator: actor,
        expiresAt: null,
        revokedAt: null,
        lastUsedAt: null,
      });
      await audit.record(em, {
        actor,
        action: "token.create",
        resourceType: "token",
        resourceId: id,
        reason: "an administrator's token was made on the machine of the database",
        details: { name, owner: firstOwner, role: "admin" },
      });
      await show(secret.text);
    },
    { lock: "operator tokens" },
  );
}

const actor = "system:token-reset";
