import { OtaError } from "../../errors.ts";
import type { Session } from "../../infra/database/session.ts";
import { prepared, sql } from "../../infra/database/sql.ts";
import type { OpenUpdate, UpdateKey } from "../model/open-update.ts";
import { returnTime } from "../model/return-time.ts";
import type { HearingTime } from "./hearing-time.ts";
import type { OutageLog } from "./outage-log.ts";
import type { UpdateChange } from "./transition-sql.ts";

/** What a {@link SilenceWatch} is made of. */
export interface SilenceWatchParts {
  readonly pool: Session;
  readonly updates: SilentUpdates;
  readonly hearing: HearingTime;
  readonly outages: Pick<OutageLog, "touched">;
  /** How long after an outage devices have to be heard from. */
  readonly graceMs: number;
  /** How often devices with no interval of their own are expected. */
  readonly heartbeatIntervalMs: number;
}

/** The open updates, as they were heard of here. */
export interface SilentUpdates {
  /** The updates that began to install, each with the {@link HearingTime} at which its device was last heard here. */
  begun(): Iterable<{ readonly update: Readonly<OpenUpdate>; readonly heardMs: number }>;
  /** Notes that a device was heard so many milliseconds of {@link HearingTime} ago, here or elsewhere. */
  heard(key: UpdateKey, agoMs: number): void;
  change(key: UpdateKey, plan: (update: Readonly<OpenUpdate>) => UpdateChange | undefined): Promise<unknown>;
}

/**
 * Finds devices that began to install and are not heard any more: missing. One is missing when this replica has not heard of
 * it for its {@link returnTime} of {@link HearingTime}, and no other replica has either, by the state that all of them write,
 * which also says how often the device is expected: who beats once a day is not missing after some minutes. A replica that starts knows nothing of what was heard before and gives each device its whole time again.
 *
 * A heartbeat ends it at once, where it is taken; what else shows life, such as an update check, or a heartbeat at a
 * replica that has not learnt of it yet, ends it here.
 */
export class SilenceWatch {
  readonly #parts: SilenceWatchParts;
  #lookedAtMs = Number.NEGATIVE_INFINITY;

  constructor(parts: SilenceWatchParts) {
    this.#parts = parts;
  }

  /** Looks who is silent and who is back. Called about every second. */
  async tick(): Promise<void> {
    const { hearing, outages, graceMs } = this.#parts;
    if (hearing.ms - this.#lookedAtMs < lookEveryMs) return;
    this.#lookedAtMs = hearing.ms;
    const nowMs = hearing.now().getTime();
    const mayJudge = hearing.isSettled && !outages.touched(nowMs - graceMs, nowMs);
    const doubtful = this.#doubtful(mayJudge);
    for (let at = 0; at < doubtful.length; at += maxBatch) {
      await this.#ask(doubtful.slice(at, at + maxBatch));
    }
  }

  #doubtful(mayJudge: boolean): Readonly<OpenUpdate>[] {
    const { updates, hearing, heartbeatIntervalMs } = this.#parts;
    const doubtful: Readonly<OpenUpdate>[] = [];
    for (const { update, heardMs } of updates.begun()) {
      const silentMs = hearing.ms - heardMs;
      const isSilent = mayJudge && silentMs >= returnTime(update.returnMs, heartbeatIntervalMs);
      if (isSilent || update.missingSinceMs !== undefined) doubtful.push(update);
    }
    return doubtful;
  }

  async #ask(doubtful: readonly Readonly<OpenUpdate>[]): Promise<void> {
    const { pool, hearing, updates, heartbeatIntervalMs } = this.#parts;
    const lastSeen = await readLastSeen(pool, doubtful);
    const at = hearing.now();
    const changes = doubtful.flatMap((update) => {
      const { seenMs = Number.NEGATIVE_INFINITY, intervalMs } = lastSeen.get(update.deviceId) ?? {};
      if (update.missingSinceMs === undefined) {
        const agoMs = hearing.between(seenMs, at);
        const leftMs = returnTime(update.returnMs, intervalMs ?? heartbeatIntervalMs) - agoMs;
        if (leftMs <= 0) return [updates.change(update, (it) => lost(it, at))];
        // No later than it was: looks are some time apart, and the device must not be given its whole time again for that. One that
        // is expected more rarely than others is asked about again when others are, since that may change.
        updates.heard(update, Math.max(returnTime(update.returnMs, heartbeatIntervalMs) - leftMs, 0));
      } else if (hearing.between(update.missingSinceMs, seenMs) > 0) return [updates.change(update, found)];
      return [];
    });
    for (const result of await Promise.allSettled(changes)) {
      // What could not be written now is found again by the next look.
      if (result.status === "rejected" && !(result.reason instanceof OtaError)) throw result.reason;
    }
  }
}

/**
 * When a device was last heard by `now`, by any replica; undefined if none ever was. What lies ahead is from before the clock
 * was set back.
 */
export async function readLastHeard(pool: Session, now: Date): Promise<Date | undefined> {
  const [row] = await pool.query<{ heard_at: Date | null }>(lastHeardSql, [now]);
  return row?.heard_at ?? undefined;
}

/** The change that says that a device is back; undefined if it was not missing. */
export function found(update: Readonly<OpenUpdate>): UpdateChange | undefined {
  return update.missingSinceMs === undefined ? undefined : unmoved(update);
}

function lost(update: Readonly<OpenUpdate>, at: Date): UpdateChange | undefined {
  if (!update.taken || update.missingSinceMs !== undefined) return undefined;
  return { ...unmoved(update), missingSince: at };
}

function unmoved(update: Readonly<OpenUpdate>) {
  return {
    key: { deviceId: update.deviceId, id: update.id },
    rolloutId: update.rolloutId,
    from: update.state,
    to: update.state,
  };
}

interface LastSeen {
  readonly seenMs: number;
  /** How often the device is expected; undefined: as often as all. */
  readonly intervalMs: number | undefined;
}

async function readLastSeen(pool: Session, updates: readonly UpdateKey[]): Promise<Map<string, LastSeen>> {
  const rows = await pool.query<SeenRow>(lastSeenSql, [updates.map(({ deviceId }) => deviceId)]);
  return new Map(
    rows.map(({ device_id, last_seen_at, expected_interval_ms: ms }) => [
      device_id,
      { seenMs: last_seen_at.getTime(), intervalMs: ms === null ? undefined : Number(ms) },
    ]),
  );
}

interface SeenRow {
  readonly device_id: string;
  readonly last_seen_at: Date;
  readonly expected_interval_ms: string | null;
}

const lastSeenSql = prepared(
  "rollout_last_seen",
  sql`SELECT device_id, last_seen_at, expected_interval_ms FROM device_state WHERE device_id = ANY ($1::uuid[])`,
);

const lastHeardSql = sql`
  SELECT max(last_seen_at) AS heard_at FROM device_state WHERE last_seen_at <= $1::timestamptz`;

/** Often enough to be within a small part of any sensible time to return. */
const lookEveryMs = 1_000;

/** Devices of one statement. */
const maxBatch = 2_000;
