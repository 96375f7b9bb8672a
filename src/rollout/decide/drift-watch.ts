import type { DeviceSnapshot } from "../../device/state/device-snapshot.ts";
import { Round } from "../../infra/background/round.ts";
import type { Clock } from "../../infra/clock.ts";
import type { Session } from "../../infra/database/session.ts";
import { sql } from "../../infra/database/sql.ts";
import type { Logger } from "../../infra/logger.ts";
import type { ReportedVersions } from "../../version/reported-versions.ts";
import { devicesText } from "../model/devices-text.ts";
import type { OpenUpdate } from "../model/open-update.ts";
import { recordRollout } from "../model/rollout-audit.ts";
import {
  lockRollout,
  type RolloutTransaction,
  type RolloutTransactions,
} from "../model/rollout-transactions.ts";
import { healDrift } from "./drift-healing.ts";
import { JustProven } from "./just-proven.ts";
import { rollBackLate, rollBackToReleased } from "./late-rollbacks.ts";
import { rollBackAgain } from "./roll-back-again.ts";
import { judgeStanding, type Standing } from "./standing.ts";
import { readDrifted, readStandings } from "./standing-sql.ts";

/** The devices as they are known in memory. */
interface DeviceSource {
  get(deviceId: string): DeviceSnapshot | Promise<DeviceSnapshot>;
}

/** What a {@link DriftWatch} is made of. */
export interface DriftWatchParts {
  readonly pool: Session;
  readonly transactions: RolloutTransactions;
  /** What the texts that devices with a product report stand for. */
  readonly reported: (product: string) => ReportedVersions;
  readonly devices: DeviceSource;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly everyMs: number;
}

/**
 * Sees what becomes of devices after their updates were over. It is told by the database which devices run another version
 * than before, and holds that against what each was last proven to run:
 *
 * - One that runs an older version again, though nobody rolled it back, has drifted. It is counted, and offered the firmware
 *   again as often as the policy says.
 * - One that comes back on a version that was taken back is offered its rollback again, also if all that changed is that it is
 *   heard again; and so is one that could not be rolled back for want of a version that has been released since.
 *
 * Replicas share the work: what one looks at is locked for it.
 */
export class DriftWatch {
  readonly round: Round;
  readonly #parts: DriftWatchParts;
  readonly #proven: JustProven;
  #drifted = 0;

  constructor(parts: DriftWatchParts) {
    this.#parts = parts;
    const { clock, logger, everyMs, devices } = parts;
    this.#proven = new JustProven((deviceId) => devices.get(deviceId));
    this.round = new Round({ name: "drift", everyMs, work: (signal) => this.#run(signal), clock, logger });
  }

  /** How many devices have drifted, as of the last look. */
  get drifted(): number {
    return this.#drifted;
  }

  /** An update succeeded here. */
  succeeded(update: Readonly<OpenUpdate>): void {
    this.#proven.add(update);
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { pool, transactions } = this.#parts;
    const fallen = await this.#proven.fallen();
    if (fallen.length > 0) await pool.run(againSql, [fallen]);
    while (!signal.aborted && (await transactions.run((tx) => this.#look(tx))) === batch);
    await rollBackLate(pool, transactions);
    await rollBackToReleased(pool, transactions);
    await healDrift(pool, transactions);
    const [row] = await pool.query<{ drifted: number }>(countSql);
    this.#drifted = row?.drifted ?? 0;
  }

  /** Looks at the next devices that run another version than before; returns how many changes that were. */
  async #look(tx: RolloutTransaction): Promise<number> {
    const changes = await tx.query<{ device_id: string }>(changesSql, [batch]);
    if (changes.length === 0) return 0;
    const deviceIds = [...new Set(changes.map(({ device_id }) => device_id))];
    const [standings, drifted] = [await readStandings(tx, deviceIds), await readDrifted(tx, deviceIds)];
    const verdicts = Map.groupBy(standings, (standing) => this.#judge(standing));
    const unsettled = new Set(verdicts.get("unsettled")?.map(({ deviceId }) => deviceId));
    if (unsettled.size > 0) await tx.run(againSql, [[...unsettled]]);
    const touched = Map.groupBy(
      [...(verdicts.get("drifted") ?? []), ...(verdicts.get("take_back") ?? []), ...drifted],
      (it) => it.rolloutId,
    );
    for (const rolloutId of [...touched.keys()].sort()) {
      const touchedIds = new Set(touched.get(rolloutId)?.map(({ deviceId }) => deviceId));
      await this.#settle(tx, rolloutId, [...touchedIds]);
    }
    return changes.length - unsettled.size;
  }

  /** Acts on what these devices run of a rollout, once nobody else writes how its updates go. */
  async #settle(tx: RolloutTransaction, rolloutId: string, deviceIds: readonly string[]): Promise<void> {
    const rollout = await lockRollout(tx, rolloutId);
    const standings = (await readStandings(tx, deviceIds)).filter((it) => it.rolloutId === rolloutId);
    const verdicts = Map.groupBy(standings, (standing) => this.#judge(standing));
    const still = new Set(
      [...(verdicts.get("as_known") ?? []), ...(verdicts.get("drifted") ?? [])].map(
        ({ updateId }) => updateId,
      ),
    );
    const over = (await readDrifted(tx, deviceIds)).filter(
      (it) => it.rolloutId === rolloutId && !still.has(it.id),
    );
    const drifted = verdicts.get("drifted") ?? [];
    if (over.length > 0) await tx.run(unmarkSql, columnsOf(over));
    if (drifted.length > 0) {
      const versions = drifted.map(({ running }) => running);
      const keys = drifted.map(({ deviceId, updateId }) => ({ deviceId, id: updateId }));
      await tx.run(markSql, [...columnsOf(keys), versions, tx.now.toISOString()]);
    }
    await note(tx, rolloutId, "drifted", drifted.filter(({ driftedTo }) => driftedTo === "").length);
    await note(tx, rolloutId, "recovered", over.length);
    const returned = (verdicts.get("take_back") ?? []).map(({ deviceId }) => deviceId);
    if (returned.length > 0)
      await rollBackAgain(tx, rollout, returned, {
        why: "devices are back on the version that was taken back",
      });
  }

  #judge(standing: Standing) {
    return judgeStanding(standing, this.#parts.reported(standing.product));
  }
}

async function note(
  tx: RolloutTransaction,
  rolloutId: string,
  what: "drifted" | "recovered",
  devices: number,
): Promise<void> {
  if (devices === 0) return;
  const are = `${devicesText(devices)} that succeeded run${devices === 1 ? "s" : ""}`;
  await recordRollout(tx, rolloutId, {
    actor: "system:drift",
    action: `rollout.devices_${what}`,
    reason: `${are} ${what === "drifted" ? "an older version again" : "that no more"}`,
    details: { devices: String(devices) },
  });
  tx.changed(rolloutId);
}

function columnsOf(keys: readonly { readonly deviceId: string; readonly id: string }[]): string[][] {
  return [keys.map(({ deviceId }) => deviceId), keys.map(({ id }) => id)];
}

/** Changes of a transaction: some tens of milliseconds. */
const batch = 1_000;

const changesSql = sql`
  DELETE FROM device_version_changes WHERE id IN (
    SELECT id FROM device_version_changes ORDER BY id LIMIT $1::int FOR UPDATE SKIP LOCKED
  ) RETURNING device_id`;

/** Has devices looked at again. */
const againSql = sql`INSERT INTO device_version_changes (device_id) SELECT unnest($1::uuid[])`;

const markSql = sql`
  UPDATE device_updates u SET drifted_at = coalesce(u.drifted_at, $4::timestamptz), drifted_to = c.version,
    updated_at = now()
  FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS c (device_id, id, version)
  WHERE u.device_id = c.device_id AND u.id = c.id AND u.state = 'SUCCEEDED' AND u.retry_at IS NULL`;

const unmarkSql = sql`
  UPDATE device_updates u SET drifted_at = NULL, drifted_to = NULL, updated_at = now()
  FROM unnest($1::uuid[], $2::uuid[]) AS c (device_id, id)
  WHERE u.device_id = c.device_id AND u.id = c.id AND u.retry_at IS NULL`;

const countSql = sql`
  SELECT count(*)::float8 AS drifted FROM device_updates
  WHERE drifted_at IS NOT NULL AND retry_at IS NULL AND NOT is_deleted`;
