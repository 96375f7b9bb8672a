import type { Cause, CreateCause } from "../../call/cause.ts";
import type { Firmware } from "../../firmware/firmware.ts";
import type { FirmwareCatalog } from "../../firmware/firmware-catalog.ts";
import { assertNotRecalled } from "../../firmware/recalls.ts";
import type { IdempotencyKeys } from "../../infra/database/idempotency-keys.ts";
import { requestDigest } from "../../infra/database/request-digest.ts";
import type { ReadSession, Session } from "../../infra/database/session.ts";
import { sql } from "../../infra/database/sql.ts";
import {
  type DeviceUpdateFilter,
  type DeviceUpdateRecord,
  readDeviceUpdates,
} from "../model/device-update-list.ts";
import { type FailureReasonCount, readFailureReasons } from "../model/failure-reasons.ts";
import type { NewRollout, RolloutDefaults } from "../model/new-rollout.ts";
import type { Rollout } from "../model/rollout.ts";
import { type RolloutSelection, readRollouts } from "../model/rollout-rows.ts";
import { isInForce, type RolloutVerb } from "../model/rollout-state.ts";
import {
  lockRollout,
  type RolloutTransaction,
  type RolloutTransactions,
  readRollout,
} from "../model/rollout-transactions.ts";
import { type SteeredRollout, type SteeredUpdate, steered } from "../model/verb-effect.ts";
import { ongoingRollout, startTo, takeTo } from "./deploy.ts";
import { retryDevice, rollBackDevice } from "./device-verbs.ts";
import { insertRollout } from "./insert-rollout.ts";
import { rollBackAll, rollBackOneRing } from "./operator-rollback.ts";
import {
  abort,
  approve,
  assertNoWayOut,
  changedMeanwhile,
  pause,
  promote,
  resume,
  start,
} from "./rollout-verbs.ts";
import type { VerbRequest } from "./verb-request.ts";

/** What a {@link RolloutCatalog} is made of. */
export interface RolloutCatalogParts {
  readonly pool: Session;
  readonly transactions: RolloutTransactions;
  readonly idempotency: IdempotencyKeys;
  readonly firmware: Pick<FirmwareCatalog, "requireDeployable" | "assertSigned" | "assertSound">;
  readonly defaults: RolloutDefaults;
}

/** A promotion: to the named ring or to the next one, if the rollout still has the revision. */
export interface PromoteRequest extends VerbRequest {
  readonly ring?: string | undefined;
  readonly revision?: string | undefined;
}

/** What operators do with rollouts. Every change locks the rollout and leaves its record in the same transaction. */
export class RolloutCatalog {
  readonly #parts: RolloutCatalogParts;

  constructor(parts: RolloutCatalogParts) {
    this.#parts = parts;
  }

  /**
   * Creates a rollout in DRAFT: a handful of rows. The firmware must be deployable (`FIRMWARE_NOT_READY`,
   * `FIRMWARE_NOT_SIGNED`, `FIRMWARE_EXPIRED`, `FIRMWARE_DAMAGED`); rings and targeting must make sense (`INVALID_ARGUMENT`). `DUPLICATE` for the
   * salt of another rollout.
   */
  create(wanted: NewRollout, creator: CreateCause): Promise<Rollout> {
    return this.#parts.transactions.run(async (tx) => {
      const create = async (): Promise<string> =>
        this.#insert(tx, wanted, await this.#deployable(tx, wanted, creator.actor), creator.actor);
      const method = "ota.v1.RolloutService/CreateRollout";
      return (await this.#once(tx, method, wanted, creator, create)).rollout;
    });
  }

  /**
   * Deploys a firmware: creates and starts a rollout, or takes the one that runs on to the ring, which is the first one
   * unless named. One at a time for a firmware. `ROLLOUT_DIFFERS` if that one is not as wanted; `ILLEGAL_TRANSITION` while it is
   * paused or being rolled back.
   */
  deploy(wanted: NewRollout, ring: string | undefined, creator: CreateCause): Promise<SteeredRollout> {
    return this.#parts.transactions.run(async (tx) => {
      const by = { actor: creator.actor, reason: "" };
      let before: Rollout | undefined;
      const deploy = async (): Promise<string> => {
        // Locks the firmware, so that two deployments of it cannot cross.
        const firmware = await this.#deployable(tx, wanted, creator.actor);
        before = await ongoingRollout(tx, wanted, this.#parts.defaults);
        if (before !== undefined) {
          await takeTo(tx, before, ring, by);
          return before.id;
        }
        const id = await this.#insert(tx, wanted, firmware, creator.actor);
        await startTo(tx, await lockRollout(tx, id), ring, by);
        return id;
      };
      const request = { ...wanted, ring: ring ?? "" };
      const { rollout, repeated } = await this.#once(
        tx,
        "ota.v1.FirmwareService/DeployFirmware",
        request,
        creator,
        deploy,
      );
      return steered(repeated ? rollout : before, rollout);
    });
  }

  /** What the service's settings give to a rollout that does not say it. */
  get defaults(): RolloutDefaults {
    return this.#parts.defaults;
  }

  /** The rollout with that id. `NOT_FOUND` if there is none. */
  get(id: string): Promise<Rollout> {
    return readRollout(this.#parts.pool, id);
  }

  /** Up to `limit` rollouts below the id `after`, newest first. */
  list(
    filter: Pick<
      RolloutSelection,
      "states" | "firmwareId" | "firmwareVersion" | "metadata" | "showArchived" | "matching"
    >,
    page: { readonly limit: number; readonly after?: string | undefined },
  ): Promise<Rollout[]> {
    return readRollouts(this.#parts.pool, {
      ...filter,
      before: page.after,
      limit: page.limit,
    });
  }

  /** Up to `limit` device updates below the id `after`, newest first. `NOT_FOUND` for a rollout that is not there. */
  async listDeviceUpdates(
    filter: DeviceUpdateFilter,
    page: { readonly limit: number; readonly after?: string | undefined },
    session: ReadSession = this.#parts.pool,
  ): Promise<DeviceUpdateRecord[]> {
    if (filter.rolloutId !== undefined) await this.get(filter.rolloutId);
    return await readDeviceUpdates(session, filter, page);
  }

  /** Opens the first ring. Writes a handful of rows, however large the fleet is. The firmware must be deployable still. */
  start(call: VerbRequest): Promise<SteeredRollout> {
    return this.#verb("start", call, async (tx, rollout, by) => {
      await this.#deployable(tx, rollout, call.actor);
      await start(tx, rollout, by);
    });
  }

  /**
   * Opens the next ring, or all up to the named one; past the last ring the rollout is complete. A named ring that is open
   * already changes nothing. `UNKNOWN_RING`; `ABORTED` if the revision is another one.
   */
  promote(call: PromoteRequest): Promise<SteeredRollout> {
    return this.#verb("promote", call, async (tx, rollout, by) => {
      assertNoWayOut(rollout, "promote");
      if (call.revision !== undefined && call.revision !== String(rollout.revision))
        throw changedMeanwhile(rollout.id);
      await promote(tx, rollout, by, call.ring);
    });
  }

  /**
   * Lets a ring open that needs an approval: the named one or the next. `FOUR_EYES` for the rollout's creator
   * and whoever may be the same person; `UNKNOWN_RING`. For a rollout that has not begun the firmware must be deployable still.
   */
  approve(call: VerbRequest & { readonly ring?: string | undefined }): Promise<SteeredRollout> {
    return this.#verb("approve", call, async (tx, rollout, by) => {
      if (rollout.state === "AWAITING_APPROVAL") await this.#deployable(tx, rollout, call.actor);
      await approve(tx, rollout, by, call.ring);
    });
  }

  /** Stops making offers. */
  pause(call: VerbRequest): Promise<SteeredRollout> {
    return this.#verb("pause", call, (tx, rollout, by) => pause(tx, rollout, by));
  }

  /**
   * Makes offers again: `FIRMWARE_RECALLED`, `FIRMWARE_NOT_SIGNED` or `FIRMWARE_DAMAGED` if nobody may have what it brings. If it
   * never began, the firmware must be deployable still.
   */
  resume(call: VerbRequest): Promise<SteeredRollout> {
    return this.#verb("resume", call, async (tx, rollout, by) => {
      if (rollout.startedAt === undefined) await this.#deployable(tx, rollout, call.actor);
      else {
        await assertNotRecalled(tx, { id: rollout.firmwareId, version: rollout.version });
        await this.#parts.firmware.assertSigned(rollout.firmwareId, tx.em);
        await this.#parts.firmware.assertSound(rollout.firmwareId, tx.em);
      }
      await resume(tx, rollout, by);
    });
  }

  /** See {@link rollBackAll}. */
  rollback(call: VerbRequest & { readonly firmwareId?: string | undefined }): Promise<SteeredRollout> {
    return this.#parts.transactions.run((tx) => rollBackAll(tx, call));
  }

  /** See {@link rollBackOneRing}. `UNKNOWN_RING`. */
  rollbackRing(call: VerbRequest & { readonly ring: string }): Promise<SteeredRollout> {
    return rollBackOneRing(this.#parts.transactions, call);
  }

  /** See {@link rollBackDevice}. */
  rollbackDevice(call: VerbRequest & { readonly deviceId: string }): Promise<SteeredUpdate> {
    return this.#parts.transactions.run(async (tx) =>
      rollBackDevice(tx, assertNoWayOut(await lockRollout(tx, call.id), "rollback"), call.deviceId, call),
    );
  }

  /** See {@link retryDevice}. */
  retryDevice(
    call: VerbRequest & { readonly deviceId: string; readonly reinstall?: boolean | undefined },
  ): Promise<SteeredUpdate> {
    return this.#parts.transactions.run(async (tx) =>
      retryDevice(tx, await lockRollout(tx, call.id), call.deviceId, call, call.reinstall),
    );
  }

  /** Counts the rollout's failed devices by reason, most first, at most 100 reasons. */
  async listFailureReasons(id: string): Promise<FailureReasonCount[]> {
    await this.get(id);
    return await readFailureReasons(this.#parts.pool, id);
  }

  /** Stops for good, and rolls nothing back. */
  abort(call: VerbRequest): Promise<SteeredRollout> {
    return this.#verb("abort", call, (tx, rollout, by) => abort(tx, rollout, by));
  }

  /** Pauses what runs on a firmware that this key signed; returns how many rollouts it paused. */
  async signingKeyRevoked(keyId: string, why: Cause): Promise<number> {
    const ids = await this.#parts.pool.query<{ id: string }>(signedSql, [keyId]);
    let paused = 0;
    for (const { id } of ids) {
      const reason = `signing key ${keyId} was revoked${why.reason === "" ? "" : `: ${why.reason}`}`;
      await this.#parts.transactions.run(async (tx) => {
        const rollout = await lockRollout(tx, id);
        if (rollout.state !== "RUNNING") return;
        await pause(tx, rollout, { actor: why.actor, reason });
        paused += 1;
      });
    }
    return paused;
  }

  #verb(
    verb: RolloutVerb,
    { id, actor, reason }: VerbRequest,
    work: (tx: RolloutTransaction, rollout: Rollout, by: Cause) => Promise<void>,
  ): Promise<SteeredRollout> {
    return this.#parts.transactions.run(async (tx) => {
      const rollout = await lockRollout(tx, id);
      if (isInForce(rollout.state, verb)) return steered(rollout, rollout);
      await work(tx, rollout, { actor, reason });
      return steered(rollout, await readRollout(tx, id));
    });
  }

  async #once(
    tx: RolloutTransaction,
    method: string,
    request: object,
    { actor, requestId }: CreateCause,
    create: () => Promise<string>,
  ): Promise<{ readonly rollout: Rollout; readonly repeated: boolean }> {
    const key = { caller: actor, method, requestId, requestDigest: requestDigest(request) };
    const { resourceId, repeated } = await this.#parts.idempotency.once(tx.em, key, create);
    return { rollout: await readRollout(tx, resourceId), repeated };
  }

  #insert(tx: RolloutTransaction, wanted: NewRollout, firmware: Firmware, actor: string): Promise<string> {
    return insertRollout(tx, wanted, { firmware, actor, defaults: this.#parts.defaults });
  }

  #deployable(tx: RolloutTransaction, { firmwareId }: Pick<NewRollout, "firmwareId">, actor: string) {
    return this.#parts.firmware.requireDeployable(firmwareId, { actor, em: tx.em });
  }
}

/** Rollouts that run on a firmware which the key $1 signed. */
const signedSql = sql`
  SELECT r.id FROM rollouts r WHERE r.state = 'RUNNING' AND NOT r.is_deleted AND EXISTS (
    SELECT 1 FROM firmware_signatures s WHERE s.firmware_id = r.firmware_id AND s.key_id = $1)`;
