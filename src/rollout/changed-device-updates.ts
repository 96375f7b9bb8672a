import type { EntityManager } from "@mikro-orm/postgresql";
import { readModelNames } from "../device/filter/model-names.ts";
import type { DeviceIdentityObserver } from "../device/registry/identity-observer.ts";
import type { DeviceSnapshot } from "../device/state/device-snapshot.ts";
import { firmwareOf, withDeleted } from "../firmware/firmware-rows.ts";
import { FirmwareUpdateEntity } from "../firmware/firmware-update.entity.ts";
import type { Clock } from "../infra/clock.ts";
import { type Session, sessionOf } from "../infra/database/session.ts";
import { sql } from "../infra/database/sql.ts";
import { endOpenUpdate, type LockedOpenUpdate, lockOpenUpdate } from "./locked-open-update.ts";
import { readRollouts } from "./model/rollout-rows.ts";
import { checkedDevice } from "./offer/checked-device.ts";
import { type CompiledRollout, compileRollout, withModelNames } from "./rules/compiled-rollout.ts";
import { productRule } from "./rules/product-rule.ts";
import type { OfferFacts, Rule } from "./rules/rule.ts";
import { targetingRules } from "./rules/targeting-rules.ts";

/**
 * Decides over the open update of a device that is no longer what it was, in the transaction that makes it so.
 *
 * - **Another board, before it took the update:** the offer counts as not made. The new board is asked by the rules like
 *   any device, and may be offered the same again.
 * - **Another board, after the old one took the update:** failed. Nobody knows why the board had to be replaced, and an
 *   install that was never proven is the likeliest reason.
 * - **Another type or model, by an operator's word:** cancelled if the rollout was meant for what the device had been and
 *   is not for what it is; else it goes on.
 */
export class ChangedDeviceUpdates implements DeviceIdentityObserver {
  readonly #clock: Clock;
  readonly #heartbeatIntervalMs: number;

  /** `heartbeatIntervalMs` decides who is online, for the filters of rollouts. */
  constructor(clock: Clock, heartbeatIntervalMs: number) {
    this.#clock = clock;
    this.#heartbeatIntervalMs = heartbeatIntervalMs;
  }

  async boardReplaced(em: EntityManager, deviceId: string): Promise<void> {
    const session = sessionOf(em);
    // What the old board was proven to run is no matter of the new one, whatever version that comes with.
    await session.run(versionChangedSql, [deviceId]);
    const open = await lockOpenUpdate(session, deviceId);
    if (open === undefined) return;
    if (open.action === "ROLLBACK") {
      return await this.#end(session, deviceId, "CANCELLED", "DEVICE_REPLACED", "the board was replaced");
    }
    if (open.taken) {
      const message = "the board was replaced before the install was proven";
      return await this.#end(session, deviceId, "FAILED", "DEVICE_REPLACED", message);
    }
    await this.#unmake(session, deviceId, open, "DEVICE_REPLACED", "the board was replaced");
  }

  async identityCorrected(em: EntityManager, before: DeviceSnapshot, after: DeviceSnapshot): Promise<void> {
    const session = sessionOf(em);
    const open = await lockOpenUpdate(session, after.id);
    if (open === undefined) return;
    const rollout = await this.#compiled(em, open);
    // Which product it had been nobody may have known.
    const wasFor = rollout !== undefined && this.#isFor(rollout, before, whateverProduct);
    if (!wasFor || this.#isFor(rollout, after, identityRules)) return;
    const message = `it is not meant for ${after.product || `a ${after.deviceType}`} of model ${after.hardwareModel}`;
    if (open.action === "ROLLBACK" || open.taken) {
      return await this.#end(session, after.id, "CANCELLED", "DEVICE_CORRECTED", message);
    }
    await this.#unmake(session, after.id, open, "DEVICE_CORRECTED", message);
  }

  async #end(
    session: Session,
    deviceId: string,
    state: "CANCELLED" | "FAILED",
    reason: string,
    message: string,
  ): Promise<void> {
    await endOpenUpdate(session, deviceId, { at: this.#clock.now(), state, reason, message });
  }

  async #unmake(
    session: Session,
    deviceId: string,
    open: LockedOpenUpdate,
    reason: string,
    message: string,
  ): Promise<void> {
    await session.run(unmakeSql, [
      deviceId,
      open.rollout_id,
      this.#clock.now().toISOString(),
      reason,
      message,
    ]);
  }

  /** The rollout of an open update with the firmware that this update brings, which is another one for a step or a rollback. */
  async #compiled(em: EntityManager, open: LockedOpenUpdate): Promise<CompiledRollout | undefined> {
    const [rollout] = await readRollouts(sessionOf(em), { ids: [open.rollout_id] });
    const rows = await em.find(FirmwareUpdateEntity, { id: open.firmware_id }, withDeleted);
    const [firmware] = await firmwareOf(em, rows);
    if (rollout === undefined || firmware === undefined) return undefined;
    const models = await readModelNames(sessionOf(em));
    return compileRollout(
      rollout,
      { firmware: withModelNames(firmware, models), blocked: undefined },
      { heartbeatIntervalMs: this.#heartbeatIntervalMs, models },
    );
  }

  #isFor(rollout: CompiledRollout, device: DeviceSnapshot, rules: readonly Rule[]): boolean {
    const checked = checkedDevice(device);
    const facts: OfferFacts = {
      nowMs: () => this.#clock.now().getTime(),
      wasTried: () => false,
      inProgress: () => 0,
      pacedUntilMs: () => 0,
      openRollout: () => rollout.id,
    };
    return rules.every((rule) => rule.judge(rollout, checked, facts) === undefined);
  }
}

/** The version is no part of what a device is: an update that has begun changes it. */
const identityRules = targetingRules.filter(({ name }) => name !== "current_version_range");

const whateverProduct = identityRules.filter((rule) => rule !== productRule);

const versionChangedSql = sql`INSERT INTO device_version_changes (device_id) VALUES ($1::uuid)`;

/**
 * Cancels the offer that device $1 has of rollout $2, at $3, as if it and what was tried before it had not been: they get
 * numbers below those of tries, as offers do that were superseded, and no install that would have to be taken back.
 */
const unmakeSql = sql`
  UPDATE device_updates u SET attempt = low.attempt - u.attempt, installing_at = NULL,
    state = CASE WHEN u.ended_at IS NULL THEN 'CANCELLED' ELSE u.state END,
    failure_reason = CASE WHEN u.ended_at IS NULL THEN $4::text ELSE u.failure_reason END,
    failure_message = CASE WHEN u.ended_at IS NULL THEN $5::text ELSE u.failure_message END,
    retry_at = coalesce(u.retry_at, $3::timestamptz), ended_at = coalesce(u.ended_at, $3::timestamptz),
    updated_at = now()
  FROM (
    SELECT least(min(attempt), 0) AS attempt FROM device_updates
    WHERE device_id = $1::uuid AND rollout_id = $2::uuid AND action <> 'ROLLBACK'
  ) low
  WHERE u.device_id = $1::uuid AND u.rollout_id = $2::uuid AND u.action <> 'ROLLBACK' AND u.attempt > 0`;
