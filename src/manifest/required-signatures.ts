/** What a signing key vouches for. Keys of the role `test` are for trials: they count only where somebody says so. */
export type KeyRole = "release" | "security" | "test";

/** All roles, the most usual one first. */
export const keyRoles = ["release", "security", "test"] as const satisfies readonly KeyRole[];

/** How many different keys must have signed. All of it must hold. */
export interface RequiredSignatures {
  /** Whatever their role: at least 1. */
  readonly total: number;
  /** Keys of the role `release`; 0 unless given. */
  readonly release?: number;
  /** Keys of the role `security`; 0 unless given. */
  readonly security?: number;
}

/**
 * What is missing, in words; undefined if it is enough. `votes` has the role of each different key that signed and counts. A
 * requirement that asks for nothing, or for no number, is never met, so that a mistake opens no door.
 */
export function missingSignatures(
  votes: readonly KeyRole[],
  { total, release = 0, security = 0 }: RequiredSignatures,
): string | undefined {
  const has = (role: KeyRole): number => votes.filter((vote) => vote === role).length;
  const parts = [
    ...(total >= 1 && votes.length >= total ? [] : [`${votes.length} valid signatures, ${total} are needed`]),
    ...(has("release") >= release ? [] : [`${has("release")} of release keys, ${release} are needed`]),
    ...(has("security") >= security ? [] : [`${has("security")} of security keys, ${security} are needed`]),
  ];
  return parts.length === 0 ? undefined : parts.join("; ");
}
