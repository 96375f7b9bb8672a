import type { EntityManager } from "@mikro-orm/postgresql";

/** A public key that an operator registered. */
export interface RegisteredKey {
  readonly publicKeyPem: string;
  readonly revoked: boolean;
}

/** The registered signing keys, by id (RFC 7638 thumbprint). */
export interface SigningKeyDirectory {
  /**
   * The key as it is registered at this moment: an answer from before a revocation would let a stolen key sign. Read it
   * with the caller's entity manager, whose transaction holds a connection already: waiting for a second one while many
   * hold their first would stop them all.
   */
  find(keyId: string, em: EntityManager): Promise<RegisteredKey | undefined>;
}
