import type { Cause } from "../call/cause.ts";
import type { ListPosition } from "../call/list-page.ts";
import type { Clock } from "../infra/clock.ts";
import type { Database } from "../infra/database/database.ts";
import { fromTo } from "./audit-change.ts";
import type { AuditLog } from "./audit-log.ts";
import { SignatureRequirementEntity, type SignatureRequirementRow } from "./signature-requirement.entity.ts";

/** What {@link SignatureRequirements} is made of. */
export interface SignatureRequirementsParts {
  readonly database: Pick<Database, "em" | "transact">;
  readonly audit: AuditLog;
  readonly clock: Clock;
}

/** Which signatures products ask for beyond what the service asks of all. */
export class SignatureRequirements {
  readonly #parts: SignatureRequirementsParts;

  constructor(parts: SignatureRequirementsParts) {
    this.#parts = parts;
  }

  /** Sets what a product asks for; nought of each takes it away. Returns what holds now, if anything does. */
  async set(
    { product, release, security }: { product: string; release: number; security: number },
    { actor, reason }: Cause,
  ): Promise<SignatureRequirementRow | undefined> {
    const { database, audit, clock } = this.#parts;
    return await database.transact(async (em) => {
      const before = await em.findOne(SignatureRequirementEntity, product);
      const counts = { releaseSignatures: release, securitySignatures: security };
      if (before?.releaseSignatures === release && before.securitySignatures === security) return before;
      if (release + security === 0 && before === null) return undefined;
      await audit.record(em, {
        actor,
        action: "signature_requirement.set",
        resourceType: "product",
        resourceId: product,
        reason,
        details: {
          ...fromTo("release", before?.releaseSignatures ?? 0, release),
          ...fromTo("security", before?.securitySignatures ?? 0, security),
        },
      });
      if (release + security === 0) {
        await em.nativeDelete(SignatureRequirementEntity, { product });
        return undefined;
      }
      return await em.upsert(SignatureRequirementEntity, { product, ...counts, updatedAt: clock.now() });
    });
  }

  /** Up to `limit` requirements after a product, by name. */
  async list({ limit, after }: ListPosition): Promise<SignatureRequirementRow[]> {
    return await this.#parts.database
      .em()
      .find(SignatureRequirementEntity, after === undefined ? {} : { product: { $gt: after } }, {
        orderBy: { product: "asc" },
        limit,
        disableIdentityMap: true,
      });
  }
}
