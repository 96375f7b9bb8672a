import { isDeepStrictEqual } from "node:util";
import { fromTo } from "../../access/audit-change.ts";
import type { Cause } from "../../call/cause.ts";
import { illegalTransition, notFound, OtaError } from "../../errors.ts";
import type { FirmwareCatalog } from "../../firmware/firmware-catalog.ts";
import { sql } from "../../infra/database/sql.ts";
import { type DeviceUpdateRecord, readDeviceUpdate } from "../model/device-update-list.ts";
import type { Metadata } from "../model/rollout.entity.ts";
import type { Rollout } from "../model/rollout.ts";
import { recordRollout } from "../model/rollout-audit.ts";
import { allowedVerbs, isFinalRollout, makesOffers } from "../model/rollout-state.ts";
import {
  lockAnyRollout,
  type RolloutTransaction,
  type RolloutTransactions,
  readRollout,
} from "../model/rollout-transactions.ts";
import { changedMeanwhile, requireRing } from "./rollout-verbs.ts";
import type { VerbRequest } from "./verb-request.ts";

/** What a {@link RolloutRecords} is made of. */
export interface RolloutRecordsParts {
  readonly transactions: RolloutTransactions;
  readonly firmware: Pick<FirmwareCatalog, "requireDeployable">;
  /** Told when device updates are to be marked as their rollout is. */
  readonly marking: () => void;
}

/** What to change of a rollout; what is undefined stays. */
export interface RolloutChange {
  readonly name?: string | undefined;
  readonly metadata?: Metadata | undefined;
  /** By the names of the rings. */
  readonly rings: readonly { readonly name: string; readonly metadata: Metadata }[];
  /** If given, it is changed only if it still has this revision. */
  readonly revision?: string | undefined;
}

/** A rollout after it was to be changed, put away or taken out. */
export interface Kept {
  readonly rollout: Rollout;
  /** It was as it was to be. */
  readonly unchanged: boolean;
}

/** How rollouts and device updates are kept: their names, the keys of integrations, and what is put away. */
export class RolloutRecords {
  readonly #parts: RolloutRecordsParts;

  constructor(parts: RolloutRecordsParts) {
    this.#parts = parts;
  }

  /**
   * Changes what is given, whatever the state; what is so already is not recorded. `UNKNOWN_RING`; `ABORTED` if the revision is
   * another one.
   */
  update(id: string, change: RolloutChange, { actor }: Pick<Cause, "actor">): Promise<Kept> {
    return this.#parts.transactions.run(async (tx) => {
      const rollout = await lockAnyRollout(tx, id);
      if (change.revision !== undefined && change.revision !== String(rollout.revision))
        throw changedMeanwhile(id);
      const { name, metadata, rings } = changesOf(rollout, change);
      if (name === undefined && metadata === undefined && rings.length === 0)
        return { rollout, unchanged: true };
      for (const ring of rings) {
        await tx.run(ringSql, [requireRing(rollout.rings, ring.name).id, JSON.stringify(ring.metadata)]);
      }
      await tx.run(rolloutSql, [id, name ?? null, metadata === undefined ? null : JSON.stringify(metadata)]);
      const details = Object.assign(
        {},
        name === undefined ? {} : fromTo("name", rollout.name, name),
        metadata === undefined ? {} : fromTo("metadata", rollout.metadata, metadata),
        ...rings.map((ring) =>
          fromTo(
            `rings.${ring.name}.metadata`,
            requireRing(rollout.rings, ring.name).metadata,
            ring.metadata,
          ),
        ),
      );
      tx.changed(id);
      await recordRollout(tx, id, { actor, action: "rollout.update", details });
      return { rollout: await readRollout(tx, id), unchanged: false };
    });
  }

  /** Replaces the metadata of a device's update, whatever its state; the same again is not recorded. `NOT_FOUND`. */
  updateDeviceUpdate(
    key: { readonly deviceId: string; readonly id: string },
    metadata: Metadata,
    { actor }: Pick<Cause, "actor">,
  ): Promise<{ readonly update: DeviceUpdateRecord; readonly unchanged: boolean }> {
    return this.#parts.transactions.run(async (tx) => {
      const before = await readDeviceUpdate(tx, key);
      if (before !== undefined && isDeepStrictEqual({ ...before.metadata }, { ...metadata }))
        return { update: before, unchanged: true };
      const stored = Object.keys(metadata).length === 0 ? null : JSON.stringify(metadata);
      const changed = await tx.run(deviceUpdateSql, [key.deviceId, key.id, stored]);
      const update = changed === 0 ? undefined : await readDeviceUpdate(tx, key);
      if (update === undefined) throw notFound("device update", key.id);
      await recordRollout(tx, update.rolloutId, {
        actor,
        action: "rollout.update_device_update",
        details: {
          device_id: key.deviceId,
          update_id: key.id,
          ...fromTo("metadata", before?.metadata, metadata),
        },
      });
      return { update, unchanged: false };
    });
  }

  /**
   * Puts a rollout away that is over, with its rings and device updates. An archived one stays as it is.
   * `ILLEGAL_TRANSITION` in other states, or while a device is at its update.
   */
  archive({ id, ...by }: VerbRequest): Promise<Kept> {
    return this.#move(id, "archive", by, async (tx, rollout) => {
      if (rollout.archivedAt !== undefined) return false;
      const { state } = rollout;
      if (!isFinalRollout(state) && state !== "COMPLETED") {
        throw illegalTransition("rollout", "archive", state, allowedVerbs(state));
      }
      const [row] = await tx.query<{ open: number }>(openSql, [id]);
      const open = (row?.open ?? 0) + rollout.rollback.waiting;
      if (open > 0) throw stillOpen(rollout, open);
      return true;
    });
  }

  /**
   * Takes a rollout out of the archive. One that is not in it stays as it is. One that makes offers again needs a firmware
   * that is deployable: `FIRMWARE_NOT_READY` if it was deleted, else errors as of `FirmwareCatalog.requireDeployable`.
   */
  unarchive({ id, ...by }: VerbRequest): Promise<Kept> {
    return this.#move(id, "unarchive", by, async (tx, rollout) => {
      if (rollout.archivedAt === undefined) return false;
      if (makesOffers(rollout.state)) await this.#requireDeployable(tx, rollout, by);
      return true;
    });
  }

  async #requireDeployable(tx: RolloutTransaction, rollout: Rollout, { actor }: Cause): Promise<void> {
    try {
      await this.#parts.firmware.requireDeployable(rollout.firmwareId, { actor, em: tx.em });
    } catch (error) {
      if (error instanceof OtaError && error.code === "not_found") throw firmwareGone(rollout);
      throw error;
    }
  }

  async #move(
    id: string,
    verb: "archive" | "unarchive",
    by: Cause,
    moves: (tx: RolloutTransaction, rollout: Rollout) => Promise<boolean>,
  ): Promise<Kept> {
    const kept = await this.#parts.transactions.run(async (tx) => {
      const locked = await lockAnyRollout(tx, id);
      if (!(await moves(tx, locked))) return { rollout: locked, unchanged: true };
      const now = verb === "archive" ? tx.now.toISOString() : null;
      await tx.run(archiveSql, [id, now]);
      await tx.run(archiveRingsSql, [id, now !== null]);
      tx.changed(id);
      await recordRollout(tx, id, { ...by, action: `rollout.${verb}`, details: { state: locked.state } });
      return { rollout: await readRollout(tx, id), unchanged: false };
    });
    this.#parts.marking();
    return kept;
  }
}

/** What of a change is not so already. */
function changesOf(
  rollout: Rollout,
  { name, metadata, rings }: RolloutChange,
): Pick<RolloutChange, "name" | "metadata" | "rings"> {
  const isNew = (wanted: Metadata, is: Metadata): boolean => !isDeepStrictEqual({ ...wanted }, { ...is });
  return {
    name: name === rollout.name ? undefined : name,
    metadata: metadata !== undefined && isNew(metadata, rollout.metadata) ? metadata : undefined,
    rings: rings.filter((ring) => isNew(ring.metadata, requireRing(rollout.rings, ring.name).metadata)),
  };
}

function stillOpen({ id, name }: Rollout, devices: number): OtaError {
  return new OtaError(
    "failed_precondition",
    "ILLEGAL_TRANSITION",
    `rollout ${name} cannot be archived: ${devices} of its devices are at its update; wait for them, or abort it`,
    { metadata: { resource: "rollout", verb: "archive", id, devices: String(devices) } },
  );
}

function firmwareGone({ id, name, firmwareId }: Rollout): OtaError {
  return new OtaError(
    "failed_precondition",
    "FIRMWARE_NOT_READY",
    `rollout ${name} cannot leave the archive: it would make offers, and its firmware was deleted`,
    { metadata: { id, firmware_id: firmwareId } },
  );
}

const rolloutSql = sql`
  UPDATE rollouts SET name = coalesce($2::text, name), metadata = coalesce($3::jsonb, metadata), version = version + 1,
    updated_at = now()
  WHERE id = $1::uuid`;

const ringSql = sql`UPDATE deployment_rings SET metadata = $2::jsonb, updated_at = now() WHERE id = $1::uuid`;

const deviceUpdateSql = sql`
  UPDATE device_updates SET metadata = $3::jsonb, updated_at = clock_timestamp()
  WHERE device_id = $1::uuid AND id = $2::uuid`;

/** Found by the index of what is open: the rollout may have had a million. */
const openSql = sql`
  SELECT count(*)::float8 AS open FROM device_updates WHERE rollout_id = $1::uuid AND ended_at IS NULL`;

/** $2: when; null to take it out again. Its device updates are marked afterwards, from the first one on. */
const archiveSql = sql`
  UPDATE rollouts SET archived_at = $2::timestamptz, is_deleted = $2::timestamptz IS NOT NULL,
    unmarked_after = '00000000-0000-0000-0000-000000000000', version = version + 1, updated_at = now()
  WHERE id = $1::uuid`;

const archiveRingsSql = sql`
  UPDATE deployment_rings SET is_deleted = $2::boolean, updated_at = now() WHERE rollout_id = $1::uuid`;
