import { invalidArgument } from "../../errors.ts";
import type { Parameters } from "../../infra/database/parameters.ts";
import { type Sql, sql } from "../../infra/database/sql.ts";
import type { UpdatePin } from "../state/filterable-device.ts";
import type { StandingVerb } from "./device-standings.ts";

/** A change to many devices at once: those named by `deviceIds`, or those that `filter` matches. */
export interface BatchUpdate {
  readonly actor: string;
  readonly deviceIds: readonly string[];
  /** Empty if devices are named. */
  readonly filter: string;
  /** How many devices the caller believes that the filter matches; required with it, except to validate only. */
  readonly expectedCount: number | undefined;
  readonly addGroups: readonly string[];
  readonly removeGroups: readonly string[];
  readonly addTags: readonly string[];
  readonly removeTags: readonly string[];
  /** Undefined leaves pins as they are. */
  readonly updatePin: UpdatePin | undefined;
  /** The product that they run, empty for none; not together with other changes. Undefined leaves it as it is. */
  readonly product: string | undefined;
  /** Takes the devices out of service; not together with other changes. */
  readonly retire: boolean;
  /** How far they shall be let in; not together with other changes. Undefined leaves it as it is. */
  readonly standingVerb: StandingVerb | undefined;
  /** Has them exchange their tokens; not together with other changes. */
  readonly rotateToken: boolean;
  readonly reason: string;
  readonly validateOnly: boolean;
}

/** Refuses what is no change, and changes that cannot come together. */
export function requireSensible(batch: BatchUpdate): void {
  const {
    addGroups,
    removeGroups,
    addTags,
    removeTags,
    updatePin,
    product,
    retire,
    standingVerb,
    rotateToken,
  } = batch;
  const names = [...addGroups, ...removeGroups, ...addTags, ...removeTags];
  const changes = names.length > 0 || updatePin !== undefined;
  if (retire && changes) throw invalidArgument("retire", "cannot come together with other changes");
  if (product !== undefined && (changes || retire))
    throw invalidArgument("product", "cannot come together with other changes");
  if (standingVerb !== undefined && (changes || retire || product !== undefined))
    throw invalidArgument("standing_verb", "cannot come together with other changes");
  if (rotateToken && (changes || retire || product !== undefined || standingVerb !== undefined))
    throw invalidArgument("rotate_token", "cannot come together with other changes");
  if (!retire && !changes && product === undefined && standingVerb === undefined && !rotateToken)
    throw invalidArgument("add_groups", "or another change is required");
  requireDistinct("remove_groups", addGroups, removeGroups);
  requireDistinct("remove_tags", addTags, removeTags);
}

function requireDistinct(field: string, added: readonly string[], removed: readonly string[]): void {
  const both = removed.find((name) => added.includes(name));
  if (both !== undefined) throw invalidArgument(field, `${both} cannot be added and removed at once`);
}

/** Refuses more groups or tags than a device may have. */
export function requireRoom(id: string, groups: number, tags: number): void {
  if (groups > maxNames)
    throw invalidArgument("add_groups", `device ${id} would be in more than ${maxNames} groups`);
  if (tags > maxNames)
    throw invalidArgument("add_tags", `device ${id} would carry more than ${maxNames} tags`);
}

/** Whether a change makes a difference to the device `d`. */
export function wouldChange(batch: BatchUpdate, parameters: Parameters): Sql {
  if (batch.retire) return sql`true`;
  if (batch.standingVerb !== undefined) return changedByVerb[batch.standingVerb];
  if (batch.rotateToken) return canBeAsked;
  if (batch.product !== undefined) return sql`d.product <> ${parameters.add(batch.product, "text")}`;
  const { updatePin } = batch;
  const list = (names: readonly string[]) => parameters.add(names, "text[]");
  const pin =
    updatePin === undefined ? sql`false` : sql`d.update_pin <> ${parameters.add(updatePin, "text")}`;
  return sql`(NOT d.groups @> ${list(batch.addGroups)} OR d.groups && ${list(batch.removeGroups)}
    OR NOT d.tags @> ${list(batch.addTags)} OR d.tags && ${list(batch.removeTags)} OR ${pin})`;
}

/** Makes a change of groups, tags and pins. Rows are locked in the order of their ids, so that two batches wait for each other and never in a circle. */
export function changeSql(batch: BatchUpdate, ids: readonly string[], parameters: Parameters): Sql {
  const pin = parameters.add(batch.updatePin ?? null, "text");
  return sql`
    WITH locked AS MATERIALIZED (
      SELECT id FROM devices WHERE id = ANY(${parameters.add(ids, "uuid[]")}) AND NOT is_deleted ORDER BY id FOR UPDATE)
    UPDATE devices AS d
       SET groups = ${merged(sql`d.groups`, batch.addGroups, batch.removeGroups, parameters)},
           tags = ${merged(sql`d.tags`, batch.addTags, batch.removeTags, parameters)},
           update_pin = coalesce(${pin}, d.update_pin),
           updated_at = now()
      FROM locked WHERE d.id = locked.id AND ${wouldChange(batch, parameters)}
    RETURNING d.id, cardinality(d.groups) AS groups, cardinality(d.tags) AS tags`;
}

/** In the order in which they were, the new ones last. */
function merged(
  column: Sql,
  added: readonly string[],
  removed: readonly string[],
  parameters: Parameters,
): Sql {
  return sql`array(
    SELECT name FROM unnest(${column} || ${parameters.add(added, "text[]")}) WITH ORDINALITY AS u (name, place)
    WHERE name <> ALL(${parameters.add(removed, "text[]")}) GROUP BY name ORDER BY min(place))`;
}

/** What the audit log says of a step. */
export function detailsOf(
  batch: BatchUpdate,
  ids: readonly string[],
  changed: number,
): Record<string, string> {
  const { filter, addGroups, removeGroups, addTags, removeTags, updatePin } = batch;
  const given = {
    filter,
    add_groups: addGroups.join(","),
    remove_groups: removeGroups.join(","),
    add_tags: addTags.join(","),
    remove_tags: removeTags.join(","),
    update_pin: updatePin ?? "",
    first_device_id: ids[0] ?? "",
    last_device_id: ids.at(-1) ?? "",
    matched_count: String(ids.length),
    changed_count: String(changed),
  };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== ""));
}

/** Of groups, and of tags, by the contract. */
const maxNames = 32;

/** Whether a verb makes a difference to the device `d`. */
const changedByVerb: Readonly<Record<StandingVerb, Sql>> = {
  block: sql`d.blocked_at IS NULL`,
  unblock: sql`d.blocked_at IS NOT NULL`,
  quarantine: sql`d.quarantined_at IS NULL`,
  approve: sql`(d.quarantined_at IS NOT NULL OR d.clone_suspected_at IS NOT NULL)`,
};

/** Whether the device `d` has a token that nobody has asked it to exchange. */
export const canBeAsked = sql`(d.token_rotation_requested_at IS NULL AND EXISTS (
  SELECT 1 FROM device_credentials c WHERE c.device_id = d.id AND c.revoked_at IS NULL))`;
