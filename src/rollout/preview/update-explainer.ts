import type { Session } from "../../infra/database/session.ts";
import { sql } from "../../infra/database/sql.ts";
import { type DeviceUpdateRecord, readDeviceUpdates } from "../model/device-update-list.ts";
import { type OpenUpdate, takesSlot } from "../model/open-update.ts";
import { triedSql } from "../model/tried-sql.ts";
import { waysOutADay, waysOutSql } from "../model/way-out.ts";
import { checkedDevice } from "../offer/checked-device.ts";
import { decideOpenUpdate, type OpenUpdateCase } from "../offer/open-update-decision.ts";
import type { RolloutIndex } from "../offer/rollout-index.ts";
import type { DeviceSource } from "../offer/update-offers.ts";
import type { CheckedDevice, OfferFacts } from "../rules/rule.ts";
import { compiledById } from "./compiled-by-id.ts";
import { type Explanation, explainRollout } from "./explain.ts";

/** What an {@link UpdateExplainer} is made of. */
export interface UpdateExplainerParts {
  readonly pool: Session;
  readonly devices: DeviceSource;
  readonly index: RolloutIndex;
  /** What update checks are decided by on this replica. */
  readonly facts: OfferFacts;
  readonly tracker: { get(deviceId: string): Readonly<OpenUpdate> | undefined };
}

/** An explanation with what the device has had of the rollout so far. */
export interface ExplainedUpdate extends Explanation {
  readonly update: DeviceUpdateRecord | undefined;
}

/** Says why a device gets a rollout's update or not: with the rules of the update check, and what the database knows. */
export class UpdateExplainer {
  readonly #parts: UpdateExplainerParts;

  constructor(parts: UpdateExplainerParts) {
    this.#parts = parts;
  }

  /** Explains a rollout in any state to a device. `NOT_FOUND` if one of them is not there. */
  async explain(rolloutId: string, deviceId: string): Promise<ExplainedUpdate> {
    const { pool, devices, index, tracker } = this.#parts;
    const [known, rollout, [update], stored] = await Promise.all([
      devices.get(deviceId),
      index.get(rolloutId) ?? compiledById(pool, index, rolloutId),
      readDeviceUpdates(pool, { rolloutId, deviceId, states: [] }, { limit: 1 }),
      pool.query<StoredPart>(partsSql, [deviceId, new Date(this.#parts.facts.nowMs())]),
    ]);
    const device = checkedDevice(known);
    const open = tracker.get(deviceId);
    const facts = overlaid(this.#parts.facts, stored, open);
    const explanation = explainRollout(rollout, device, index.candidates(device.deviceType), facts);
    if (known.retired) {
      return { ...explanation, reason: "NOT_TARGETED", message: "The device is retired.", ring: "", update };
    }
    if (open?.rolloutId !== rolloutId) return { ...explanation, update };
    const firmware = await index.firmware(open.firmwareId);
    return { ...explanation, ...openOutcome({ update: open, firmware, rollout }, device, facts), update };
  }
}

/** A rollout of which a device has had something, by the database. */
interface StoredPart {
  readonly rolloutId: string;
  /** It has had the update, and that is over. */
  readonly tried: boolean;
  /** It is to be rolled back as soon as it is free. */
  readonly goesBack: boolean;
}

/** The way out of a recall a device may have several times. $2: now. */
const partsSql = sql`
  SELECT w.rollout_id AS "rolloutId", bool_or(w.take_back_by IS NOT NULL) AS "goesBack",
    CASE WHEN r.recall_id IS NULL THEN bool_or(${triedSql})
      ELSE ${waysOutSql(sql`$1::uuid`, sql`w.rollout_id`, sql`$2::timestamptz`)} >= ${waysOutADay} END
      AND NOT bool_or(w.ended_at IS NULL AND w.action <> 'ROLLBACK') AS tried
  FROM device_updates w JOIN rollouts r ON r.id = w.rollout_id
  WHERE w.device_id = $1::uuid GROUP BY w.rollout_id, r.recall_id`;

/** What is known, with what the database says of the device; its own slot is not in its way. */
function overlaid(
  facts: OfferFacts,
  stored: readonly StoredPart[],
  open: Readonly<OpenUpdate> | undefined,
): OfferFacts {
  const tried = new Set(stored.filter((part) => part.tried).map(({ rolloutId }) => rolloutId));
  const goesBack = stored.find((part) => part.goesBack)?.rolloutId;
  const own = open !== undefined && takesSlot(open) ? open.rolloutId : undefined;
  return {
    nowMs: () => facts.nowMs(),
    wasTried: (rolloutId, deviceId) => tried.has(rolloutId) || facts.wasTried(rolloutId, deviceId),
    inProgress: (rolloutId) => facts.inProgress(rolloutId) - (rolloutId === own ? 1 : 0),
    pacedUntilMs: (rolloutId) => facts.pacedUntilMs(rolloutId),
    openRollout: (deviceId, asking) => facts.openRollout(deviceId, asking) ?? goesBack,
  };
}

/** A device that is at the update is past the rules of the offer, whatever they say now. */
function openOutcome(
  open: OpenUpdateCase,
  device: CheckedDevice,
  facts: OfferFacts,
): Pick<Explanation, "reason" | "message"> {
  const { action, state, toVersion } = open.update;
  if (action === "ROLLBACK") {
    return { reason: "ALREADY_TRIED", message: `The device is being rolled back to ${toVersion}.` };
  }
  const decision = decideOpenUpdate(open, device, facts);
  if (decision.kind === "none") return { reason: decision.reason, message: decision.message };
  return { reason: undefined, message: `The device is updating: ${toVersion} is ${state.toLowerCase()}.` };
}
