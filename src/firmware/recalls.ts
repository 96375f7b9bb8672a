import type { ListPosition } from "../call/list-page.ts";
import { OtaError } from "../errors.ts";
import type { Session } from "../infra/database/session.ts";
import { type Sql, sql } from "../infra/database/sql.ts";

/** A recall that is in force: no device may run the version, and whoever does is offered the replacement. */
export interface Recall {
  readonly id: string;
  readonly product: string;
  /** The application's name on the device; empty for firmware. */
  readonly component: string;
  /** The version, or a text under which devices report it. */
  readonly version: string;
  /** The firmware of this version; undefined if the catalogue has none. */
  readonly firmwareId: string | undefined;
  readonly replacementId: string;
  readonly replacementVersion: string;
  readonly reason: string;
  /** As the audit log names callers. */
  readonly actor: string;
  readonly recalledAt: Date;
  /** The rollout that leads away from it. */
  readonly rolloutId: string;
  /** How many devices still run it, as of that rollout's last census; undefined before the first one. */
  readonly runningCount: number | undefined;
}

/** Which recalls to read; conditions are combined with AND. */
export interface RecallSelection {
  readonly ids?: readonly string[] | undefined;
  /** Of these firmwares, by any text that names them. */
  readonly firmwareIds?: readonly string[] | undefined;
  readonly product?: string | undefined;
  /** Of this version of the product. */
  readonly version?: string | undefined;
  /** That lead to this firmware. */
  readonly replacementId?: string | undefined;
}

/** Reads the recalls that are in force, newest first. */
export async function readRecalls(
  session: Session,
  { ids, firmwareIds, product, version, replacementId }: RecallSelection,
  { limit, after }: ListPosition = { limit: maxRecalls },
): Promise<Recall[]> {
  const rows = await session.query<RecallRecord>(recallsSql, [
    ids ?? null,
    firmwareIds ?? null,
    product ?? null,
    version ?? null,
    replacementId ?? null,
    after ?? null,
    limit,
  ]);
  return rows.map(({ firmwareId, runningCount, recalledMs, rolloutId, ...row }) => ({
    ...row,
    firmwareId: firmwareId ?? undefined,
    runningCount: runningCount ?? undefined,
    recalledAt: new Date(recalledMs),
    rolloutId: rolloutId ?? "",
  }));
}

/** The ids of the firmwares whose version is recalled: few, if any, so that a statement which asks works it out once. */
export const recalledFirmwareSql: Sql = sql`(
  SELECT k.firmware_id FROM recalls c JOIN firmware_version_keys k ON k.product = c.product AND k.identity = c.identity
  WHERE c.reinstated_at IS NULL)`;

/** Why a recalled firmware must not be handed out, in words. */
export function recalledWords(version: string, { reason }: Pick<Recall, "reason">): string {
  return `${version} is recalled${reason === "" ? "" : `: ${reason}`}`;
}

/** Checks that devices may run a firmware: `FIRMWARE_RECALLED` if not. */
export async function assertNotRecalled(
  session: Session,
  { id, version }: { readonly id: string; readonly version: string },
): Promise<void> {
  const [recall] = await readRecalls(session, { firmwareIds: [id] });
  if (recall === undefined) return;
  throw new OtaError("failed_precondition", "FIRMWARE_RECALLED", recalledWords(version, recall), {
    metadata: { firmware_id: id, recall_id: recall.id, replacement_id: recall.replacementId },
  });
}

/** No fleet has so many. */
const maxRecalls = 10_000;

interface RecallRecord extends Omit<Recall, "firmwareId" | "runningCount" | "recalledAt" | "rolloutId"> {
  readonly firmwareId: string | null;
  readonly runningCount: number | null;
  readonly recalledMs: number;
  readonly rolloutId: string | null;
}

const recallsSql = sql`
  SELECT c.id, c.product, c.component, c.version, k.firmware_id AS "firmwareId", c.replacement_id AS "replacementId",
    f.version AS "replacementVersion", c.reason, c.actor, (extract(epoch FROM c.created_at) * 1000)::float8 AS "recalledMs",
    c.rollout_id AS "rolloutId", c.running_count::float8 AS "runningCount"
  FROM recalls c JOIN firmware_updates f ON f.id = c.replacement_id
  LEFT JOIN firmware_version_keys k ON k.product = c.product AND k.identity = c.identity
  WHERE c.reinstated_at IS NULL
    AND ($1::uuid[] IS NULL OR c.id = ANY ($1::uuid[]))
    AND ($2::uuid[] IS NULL OR k.firmware_id = ANY ($2::uuid[]))
    AND ($3::text IS NULL OR c.product = $3)
    AND ($4::text IS NULL OR c.identity = version_identity($4))
    AND ($5::uuid IS NULL OR c.replacement_id = $5::uuid)
    AND ($6::uuid IS NULL OR c.id < $6::uuid)
  ORDER BY c.id DESC LIMIT $7::int`;
