import type { Session } from "../infra/database/session.ts";
import { sql } from "../infra/database/sql.ts";

/**
 * Why two operators may be one person, in words; undefined if nothing speaks for it. Whoever creates a token sees its secret, and so
 * is whoever it stands for, and whoever the tokens stand for that are created with it. Actors are named as the audit log does.
 * Names of revoked tokens count with those that have the name now: rather one refusal too many.
 */
export async function onePerson(session: Session, one: string, other: string): Promise<string | undefined> {
  if (one === other) return `${one} is the same operator`;
  const [facts] = await session.query<DescentRow>(descentSql, [one, other]);
  if (facts === undefined) return undefined;
  if (facts.made_other)
    return `the token of ${other} was created by ${one}, or with a token that ${one} created`;
  if (facts.made_one)
    return `the token of ${one} was created by ${other}, or with a token that ${other} created`;
  return facts.both_first
    ? `the tokens of ${one} and ${other} were both made when the service started`
    : undefined;
}

interface DescentRow {
  readonly made_other: boolean;
  readonly made_one: boolean;
  readonly both_first: boolean;
}

/** UNION drops what is there already, so it ends also where names go in a circle. */
const descentSql = sql`
  WITH RECURSIVE descent (actor, maker) AS (
    SELECT actor, actor FROM unnest(ARRAY[$1::text, $2::text]) AS actor
    UNION
    SELECT descent.actor, token.creator FROM descent
      JOIN operator_tokens AS token ON 'operator:' || token.name = descent.maker
  ),
  first_start AS (
    SELECT DISTINCT 'operator:' || name AS actor FROM operator_tokens
     WHERE creator = 'system:bootstrap' AND 'operator:' || name IN ($1, $2)
  )
  SELECT EXISTS (SELECT FROM descent WHERE actor = $2 AND maker = $1) AS made_other,
         EXISTS (SELECT FROM descent WHERE actor = $1 AND maker = $2) AS made_one,
         (SELECT count(*) = 2 FROM first_start) AS both_first`;
