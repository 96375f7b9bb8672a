import { v4 as uuidv4, v7 as uuidv7 } from "uuid";
import type { Firmware } from "../../firmware/firmware.ts";
import type { FirmwareCatalog } from "../../firmware/firmware-catalog.ts";
import type { Session } from "../../infra/database/session.ts";
import { sql, words } from "../../infra/database/sql.ts";
import { ongoingStates } from "../model/rollout-state.ts";
import type { RolloutTransactions } from "../model/rollout-transactions.ts";
import type { Preview } from "../preview/preview-tally.ts";
import type { RolloutPreview } from "../preview/rollout-preview.ts";
import type { NoOfferReason } from "../rules/rule.ts";
import type { NamedVersion } from "./recalled-version.ts";
import { checkedRecall, type WantedRecall, wayOut } from "./wanted-recall.ts";

/** What a {@link RecallPreview} is made of. */
export interface RecallPreviewParts {
  readonly pool: Session;
  readonly transactions: RolloutTransactions;
  readonly firmware: Pick<FirmwareCatalog, "requireDeployable">;
  readonly preview: Pick<RolloutPreview, "ofNew">;
}

/** Whom a recall would reach. */
export interface RecallReach {
  /** Devices that run the version. */
  readonly running: number;
  /** Those of them that would be offered the replacement now. */
  readonly ready: number;
  /** Those of them that could not leave, also later. */
  readonly cannotLeave: number;
  /** Those of them that the replacement is not made for. */
  readonly unfit: number;
  /** The others, by what holds them back. */
  readonly heldBack: Preview["heldBack"];
  /** Rollouts that bring the version and are under way. */
  readonly rollouts: number;
}

/** Looks ahead at a recall, by the rules of its way out and without making any of it. */
export class RecallPreview {
  readonly #parts: RecallPreviewParts;

  constructor(parts: RecallPreviewParts) {
    this.#parts = parts;
  }

  /** Errors as of the recall, and of previews: see `RolloutPreview.ofRollout`. */
  async of(wanted: WantedRecall, actor: string, signal: AbortSignal): Promise<RecallReach> {
    const { pool, preview } = this.#parts;
    const { version, replacement } = await this.#checked(wanted, actor);
    const rollout = wayOut({ id: uuidv7(), version: version.version }, replacement, wanted.policy);
    const reached = await preview.ofNew({ ...rollout, salt: uuidv4() }, signal);
    const unfit = await this.#countUnfit(version, replacement, wanted, reached, signal);
    const [bringing] = await pool.query<{ rollouts: number }>(bringingSql, [version.firmware?.id ?? null]);
    const stuck = reached.heldBack.filter(({ reason }) => lasting.has(reason));
    return {
      running: reached.targetedCount + unfit,
      ready: reached.readyCount,
      cannotLeave: unfit + stuck.reduce((sum, { count }) => sum + count, 0),
      unfit,
      heldBack: reached.heldBack,
      rollouts: bringing?.rollouts ?? 0,
    };
  }

  /** Checks the recall as if it were made; what that releases is undone. */
  async #checked(
    wanted: WantedRecall,
    actor: string,
  ): Promise<{ readonly version: NamedVersion; readonly replacement: Firmware }> {
    const { transactions, firmware } = this.#parts;
    let checked: Awaited<ReturnType<typeof checkedRecall>> | undefined;
    try {
      await transactions.run(async (tx) => {
        checked = await checkedRecall(tx, firmware, wanted, actor);
        throw new OnlyLooked();
      });
    } catch (error) {
      if (!(error instanceof OnlyLooked) || checked === undefined) throw error;
    }
    if (checked === undefined) throw new Error("the recall was not checked");
    return checked;
  }

  /**
   * How many devices run the version and are of a type or model that the recalled firmware was made for and the replacement is not:
   * told by a second look at the fleet, as if the replacement were made for them.
   */
  async #countUnfit(
    version: NamedVersion,
    replacement: Firmware,
    wanted: WantedRecall,
    reached: Preview,
    signal: AbortSignal,
  ): Promise<number> {
    const { firmware } = version;
    if (firmware === undefined || covers(replacement, firmware)) return 0;
    const rollout = wayOut({ id: uuidv7(), version: version.version }, firmware, wanted.policy);
    const all = await this.#parts.preview.ofNew({ ...rollout, salt: uuidv4() }, signal);
    return Math.max(0, all.targetedCount - reached.targetedCount);
  }
}

class OnlyLooked extends Error {}

/** What does not pass by itself. */
const lasting: ReadonlySet<NoOfferReason> = new Set([
  "EXCLUDED",
  "QUARANTINED",
  "BLOCKED",
  "SECURITY_COUNTER",
  "VERSION_TOO_OLD",
  "VERSION_UNKNOWN",
  "STEP_MISSING",
  "PRODUCT_UNKNOWN",
  "ALREADY_TRIED",
]);

interface MadeFor {
  readonly deviceTypes: readonly string[];
  readonly hardwareModels: readonly string[];
}

function covers(one: MadeFor, other: MadeFor): boolean {
  if (!other.deviceTypes.every((type) => one.deviceTypes.includes(type))) return false;
  if (one.hardwareModels.length === 0) return true;
  const { hardwareModels } = other;
  return hardwareModels.length > 0 && hardwareModels.every((model) => one.hardwareModels.includes(model));
}

const bringingSql = sql`
  SELECT count(*)::int AS rollouts FROM rollouts
  WHERE firmware_id = $1::uuid AND NOT is_deleted AND state IN (${words(ongoingStates)})`;
