import type { EntityManager } from "@mikro-orm/postgresql";
import { SignatureRequirementEntity } from "../access/signature-requirement.entity.ts";
import { type KeyRole, missingSignatures, type RequiredSignatures } from "../manifest/required-signatures.ts";

/** What the service asks of the signatures of all firmware. */
export interface ReleasePolicy {
  /** Whether firmware without valid signatures is refused. */
  readonly requireSignature: boolean;
  /** How many different registered keys must have signed: at least 1. */
  readonly signatureThreshold: number;
  /** Whether keys of the role test count like release keys. */
  readonly acceptTestKeys: boolean;
}

/** What a product asks for by role. */
type RoleRequirement = Pick<RequiredSignatures, "release" | "security">;

/** A key as it stands behind a signature. */
export interface SignerKey {
  readonly role: KeyRole;
  readonly revoked: boolean;
  readonly expiresAt: Date | undefined;
}

/** Decides whether the signatures of a firmware are enough: one rule for releases, deployments and offers. */
export class SignatureRule {
  readonly #policy: ReleasePolicy;
  /** By product. */
  readonly #requirements: ReadonlyMap<string, RoleRequirement>;

  constructor(policy: ReleasePolicy, requirements: ReadonlyMap<string, RoleRequirement>) {
    this.#policy = policy;
    this.#requirements = requirements;
  }

  /** Whether signatures of a product's firmware are asked for. */
  isRequired(product: string): boolean {
    return this.#policy.requireSignature || this.#requirements.has(product);
  }

  /** How many signatures of a product's firmware the service asks for, whatever their role. */
  get threshold(): number {
    return this.#policy.signatureThreshold;
  }

  /** The role in which a key counts at that time; undefined if it does not. */
  voteOf({ role, revoked, expiresAt }: SignerKey, now: Date): KeyRole | undefined {
    if (revoked || isPast(expiresAt, now)) return undefined;
    if (role !== "test") return role;
    return this.#policy.acceptTestKeys ? "release" : undefined;
  }

  /**
   * Why the signatures by these keys, which are right, do not suffice at that time; undefined if they do. Where none is required,
   * a revoked key speaks against what it signed unless another one speaks for it.
   */
  fault(product: string, keys: readonly SignerKey[], now: Date): string | undefined {
    if (!this.isRequired(product)) {
      const discredited = this.#votes(keys, now).length === 0 && keys.some(({ revoked }) => revoked);
      return discredited ? "a key that signed it was revoked" : undefined;
    }
    return this.missing(product, keys, now);
  }

  /** What is missing to the signatures that are asked for, or would be if any were required; undefined if nothing is. */
  missing(product: string, keys: readonly SignerKey[], now: Date): string | undefined {
    const votes = this.#votes(keys, now);
    const required = { ...this.#requirements.get(product), total: this.#policy.signatureThreshold };
    const missing = missingSignatures(votes, required);
    return missing === undefined ? undefined : [missing, ...this.#withoutVote(keys, now)].join("; ");
  }

  #votes(keys: readonly SignerKey[], now: Date): KeyRole[] {
    return keys.flatMap((key) => this.voteOf(key, now) ?? []);
  }

  #withoutVote(keys: readonly SignerKey[], now: Date): string[] {
    const reasons = keys.filter((key) => this.voteOf(key, now) === undefined).map((key) => whyNot(key, now));
    return (["was revoked", "has expired", "is a test key"] as const)
      .map((why) => [reasons.filter((reason) => reason === why).length, why] as const)
      .filter(([count]) => count > 0)
      .map(([count, why]) => `${count} more of a key that ${why}`);
  }
}

/** The rule as products have it now, or for one of them alone. */
export async function readSignatureRule(
  em: EntityManager,
  policy: ReleasePolicy,
  product?: string,
): Promise<SignatureRule> {
  const where = product === undefined ? {} : { product };
  // As they are now, whatever this entity manager has read before.
  const rows = await em.find(SignatureRequirementEntity, where, { refresh: true });
  const requirements = rows.map(
    ({ product: name, releaseSignatures: release, securitySignatures: security }) =>
      [name, { release, security }] as const,
  );
  return new SignatureRule(policy, new Map(requirements));
}

/** Why a key without a vote has none. */
function whyNot(
  { revoked, expiresAt }: SignerKey,
  now: Date,
): "was revoked" | "has expired" | "is a test key" {
  if (revoked) return "was revoked";
  return isPast(expiresAt, now) ? "has expired" : "is a test key";
}

function isPast(expiresAt: Date | undefined, now: Date): boolean {
  return expiresAt !== undefined && expiresAt <= now;
}
