import type { ReadSession } from "../infra/database/session.ts";
import { sql } from "../infra/database/sql.ts";
import { type ChainPlace, chainStart, type HashedEvent, linkHash } from "./audit-hash.ts";
import { hashedColumns } from "./audit-sql.ts";

/** What is wrong with the audit log, first of all. */
interface AuditFault {
  readonly kind: AuditFaultKind;
  /** The link at which it shows; 0 where an event has none. */
  readonly sequence: number;
  /** The event, if one is known. */
  readonly eventId: string;
}

/**
 * - `LINK_MISSING`: a link was taken out, and there are later ones;
 * - `EVENT_MISSING`: an event was deleted;
 * - `CHANGED`: the event or its link is not what it was, or stands in another place;
 * - `NOT_LINKED`: an event was put in beside the chain;
 * - `ANCHOR_DIFFERS`: the link is another one than was known outside: the chain was made anew;
 * - `CUT_OFF`: the link that was known outside is gone from the end.
 */
type AuditFaultKind =
  | "LINK_MISSING"
  | "EVENT_MISSING"
  | "CHANGED"
  | "NOT_LINKED"
  | "ANCHOR_DIFFERS"
  | "CUT_OFF";

/** What is to be verified. */
export interface AuditVerification {
  /** The place that was verified before; the beginning unless given. */
  readonly after?: ChainPlace | undefined;
  /** Places that are known from outside, as from the log's lines. */
  readonly anchors: readonly ChainPlace[];
  /** How many links to look at in one call. */
  readonly limit: number;
}

/** What was found. */
export interface AuditVerdict {
  /** How far the chain was verified. */
  readonly through: ChainPlace;
  /** How many links of this call were verified. */
  readonly checked: number;
  /** Whether that is all. If not, go on after `through`. */
  readonly complete: boolean;
  /** The first fault; nothing after it was looked at. */
  readonly fault?: AuditFault;
}

/** Calculates the chain again and compares. Whoever may change every row can calculate it too: anchors tell that. */
export async function verifyAuditLog(
  session: ReadSession,
  { after = chainStart, anchors, limit }: AuditVerification,
): Promise<AuditVerdict> {
  let place = after;
  let checked = 0;
  const found = (fault: AuditFault): AuditVerdict => ({ through: place, checked, complete: false, fault });
  // Where it begins is known from outside as well.
  const known = after.sequence === 0 ? anchors : [after, ...anchors];
  const hashes = new Map<number, string>();
  for (const { sequence, hash } of known) {
    if ((hashes.get(sequence) ?? hash) !== hash)
      return found({ kind: "ANCHOR_DIFFERS", sequence, eventId: "" });
    hashes.set(sequence, hash);
  }
  const early = await firstOtherBefore(session, known, after.sequence);
  if (early !== undefined) return found(early);
  for (;;) {
    const links = await session.query<LinkRow>(linksSql, [
      place.sequence,
      Math.min(pageSize, limit - checked),
    ]);
    for (const link of links) {
      const sequence = Number(link.sequence);
      const eventId = link.event_id;
      if (sequence !== place.sequence + 1)
        return found({ kind: "LINK_MISSING", sequence: place.sequence + 1, eventId: "" });
      if (link.id === null) return found({ kind: "EVENT_MISSING", sequence, eventId });
      if (linkHash(place, link as HashedEvent) !== link.hash)
        return found({ kind: "CHANGED", sequence, eventId });
      const anchor = hashes.get(sequence);
      if (anchor !== undefined && anchor !== link.hash)
        return found({ kind: "ANCHOR_DIFFERS", sequence, eventId });
      place = { sequence, hash: link.hash };
      checked += 1;
    }
    if (checked >= limit) return { through: place, checked, complete: false };
    if (links.length < pageSize) break;
  }
  const beyond = Math.max(...hashes.keys());
  if (beyond > place.sequence) return found({ kind: "CUT_OFF", sequence: beyond, eventId: "" });
  const [stray] = await session.query<{ id: string; gone: boolean }>(straySql);
  if (stray !== undefined)
    return found({ kind: stray.gone ? "EVENT_MISSING" : "NOT_LINKED", sequence: 0, eventId: stray.id });
  return { through: place, checked, complete: true };
}

/** Anchors at or before the place where it begins, which the chain's links themselves must bear out. */
async function firstOtherBefore(
  session: ReadSession,
  anchors: readonly ChainPlace[],
  sequence: number,
): Promise<AuditFault | undefined> {
  const early = anchors.filter((anchor) => anchor.sequence <= sequence && anchor.sequence > 0);
  if (early.length === 0) return undefined;
  const rows = await session.query<{ sequence: string; hash: string; event_id: string }>(placesSql, [
    early.map((anchor) => anchor.sequence),
  ]);
  const links = new Map(rows.map((row) => [Number(row.sequence), row]));
  for (const anchor of early.toSorted((a, b) => a.sequence - b.sequence)) {
    const link = links.get(anchor.sequence);
    if (link === undefined) return { kind: "CUT_OFF", sequence: anchor.sequence, eventId: "" };
    if (link.hash !== anchor.hash)
      return { kind: "ANCHOR_DIFFERS", sequence: anchor.sequence, eventId: link.event_id };
  }
  return undefined;
}

type LinkRow = { readonly [K in keyof HashedEvent]: HashedEvent[K] | null } & {
  readonly sequence: string;
  readonly hash: string;
  readonly event_id: string;
};

const pageSize = 1_000;

const linksSql = sql`
  SELECT l.sequence, encode(l.hash, 'hex') AS hash, l.event_id, ${hashedColumns}
    FROM audit_links l LEFT JOIN audit_events e ON e.id = l.event_id
   WHERE l.sequence > $1 ORDER BY l.sequence LIMIT $2`;

const placesSql = sql`
  SELECT sequence, encode(hash, 'hex') AS hash, event_id FROM audit_links WHERE sequence = ANY($1::bigint[])`;

/** In one statement, so that no event is on its way from one table to the other. */
const straySql = sql`
  WITH unlinked AS (
    SELECT e.id, false AS gone FROM audit_events e
     WHERE NOT EXISTS (SELECT FROM audit_links l WHERE l.event_id = e.id)
       AND NOT EXISTS (SELECT FROM unlinked_audit_events u WHERE u.event_id = e.id)
     ORDER BY e.id LIMIT 1
  ), deleted AS (
    SELECT u.event_id AS id, true AS gone FROM unlinked_audit_events u
     WHERE NOT EXISTS (SELECT FROM audit_events e WHERE e.id = u.event_id) LIMIT 1
  )
  SELECT id, gone FROM unlinked UNION ALL SELECT id, gone FROM deleted LIMIT 1`;
