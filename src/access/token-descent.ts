import type { Session } from "../infra/database/session.ts";
import { sql } from "../infra/database/sql.ts";

/**
 * Why two operators may be one person, in words; undefined if nothing speaks for it. All tokens of one owner are one person. Whoever
 * creates a token sees its secret, and so is whoever it stands for, and whoever the tokens stand for that are created with it.
 * Actors are named as the audit log does; an owner who signs in without a token may be an actor too, and is so by the subject: a token
 * of the owner `oidc:s-1` or `oidc:s-1 (alice)` is one of the issuer's person `s-1`. Upper and lower case are the
 * same. Names of revoked tokens count with those that have the name now: rather one refusal too many.
 */
export async function onePerson(session: Session, one: string, other: string): Promise<string | undefined> {
  if (one === other) return `${one} is the same operator`;
  const [facts] = await session.query<DescentRow>(descentSql, [one, other]);
  if (facts === undefined) return undefined;
  if (facts.same_owner) return `the tokens of ${one} and ${other} have the same owner`;
  if (facts.made_other)
    return `the token of ${other} was created by ${one}, or with a token that ${one} created`;
  return facts.made_one
    ? `the token of ${one} was created by ${other}, or with a token that ${other} created`
    : undefined;
}

interface DescentRow {
  readonly same_owner: boolean;
  readonly made_other: boolean;
  readonly made_one: boolean;
}

/**
 * A token ties its name to its owner in both directions, and leads from either to its creator. People of the issuer are compared by
 * their subject everywhere: what they are called may differ. UNION drops what is there already, so
 * it ends also where names go in a circle.
 */
const descentSql = sql`
  WITH RECURSIVE token AS (
    SELECT lower('operator:' || name) AS name,
           CASE WHEN creator LIKE 'oidc:%' THEN lower(split_part(creator, ' ', 1)) ELSE lower(creator) END AS creator,
           CASE WHEN owner LIKE 'oidc:%' THEN lower(split_part(owner, ' ', 1)) ELSE lower('operator:' || owner) END AS owner
      FROM operator_tokens
  ),
  person (actor, alias) AS (
    SELECT actor, alias FROM unnest(ARRAY[$1::text, $2::text]) AS actor
      CROSS JOIN LATERAL (VALUES (lower(actor)),
        (CASE WHEN actor LIKE 'oidc:%' THEN lower(split_part(actor, ' ', 1)) ELSE lower(actor) END)) AS called (alias)
    UNION
    SELECT person.actor, tie.alias FROM person
      JOIN token ON person.alias IN (token.name, token.owner)
      CROSS JOIN LATERAL (VALUES (token.name), (token.owner)) AS tie (alias)
  ),
  descent (actor, maker) AS (
    SELECT actor, alias FROM person
    UNION
    SELECT descent.actor, tie.alias FROM descent
      JOIN token ON descent.maker IN (token.name, token.owner)
      CROSS JOIN LATERAL (VALUES (token.name), (token.owner), (token.creator)) AS tie (alias)
  )
  SELECT EXISTS (SELECT FROM person AS one JOIN person AS other USING (alias)
                  WHERE one.actor = $1 AND other.actor = $2) AS same_owner,
         EXISTS (SELECT FROM descent JOIN person ON person.alias = maker
                  WHERE descent.actor = $2 AND person.actor = $1) AS made_other,
         EXISTS (SELECT FROM descent JOIN person ON person.alias = maker
                  WHERE descent.actor = $1 AND person.actor = $2) AS made_one`;
