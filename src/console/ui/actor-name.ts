/** What people call who did something: `operator:alice` and `oidc:s-1 (alice)` are alice; anybody else is named as the audit log does. */
export function actorName(actor: string): string {
  const [kind = "", ...rest] = actor.split(":");
  const name = rest.join(":");
  if (kind === "operator") return name;
  if (kind !== "oidc") return actor;
  // The subject has no blanks.
  return /^[^ ]+ \((?<name>.*)\)$/s.exec(name)?.groups?.["name"] ?? name;
}
