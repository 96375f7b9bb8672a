import { v4 as uuidv4, v7 as uuidv7 } from "uuid";
import { parseDeviceFilter } from "../../device/filter/device-filter.ts";
import { compileFilterSql } from "../../device/filter/filter-sql.ts";
import { notFound, OtaError } from "../../errors.ts";
import type { Clock } from "../../infra/clock.ts";
import { Parameters } from "../../infra/database/parameters.ts";
import type { Pool } from "../../infra/database/pool.ts";
import { sql } from "../../infra/database/sql.ts";
import { Turns } from "../../infra/turns.ts";
import { asRollout, type NewRollout, type RolloutDefaults } from "../model/new-rollout.ts";
import type { RolloutIndex } from "../offer/rollout-index.ts";
import type { CompiledRollout, OfferFirmware } from "../rules/compiled-rollout.ts";
import { compiledById } from "./compiled-by-id.ts";
import type { DeviceClass } from "./device-class.ts";
import { type PreviewSlice, type PreviewUpdates, previewSql } from "./preview-sql.ts";
import { type Preview, PreviewTally } from "./preview-tally.ts";
import type { Places } from "./widened-rings.ts";

/** What a {@link RolloutPreview} is made of. */
export interface RolloutPreviewParts {
  readonly pool: Pool;
  readonly index: RolloutIndex;
  readonly defaults: RolloutDefaults;
  readonly clock: Clock;
  /** Decides who is online, for filters. */
  readonly heartbeatIntervalMs: number;
  /** How long a preview may take, its wait for others included. 30 s unless given. */
  readonly timeoutMs?: number;
}

/**
 * Looks ahead at what a rollout reaches, by reading the whole fleet once. Devices are judged by the rules of the offer. One
 * preview at a time, with two connections: others wait for their turn.
 */
export class RolloutPreview {
  readonly #parts: RolloutPreviewParts;
  readonly #turns = new Turns({ atOnce: 1, maxWaiting: 16, what: "previews", retryAfterMs: 5_000 });

  constructor(parts: RolloutPreviewParts) {
    this.#parts = parts;
  }

  /**
   * Of a rollout that exists. `NOT_FOUND` if it does not; `DEADLINE_EXCEEDED` if the fleet cannot be read in time;
   * `QUEUE_FULL` if too many wait. When it takes too long, or the signal aborts, no query of it goes on.
   */
  async ofRollout(rolloutId: string, signal?: AbortSignal): Promise<Preview> {
    return this.#count(await this.#compiled(rolloutId), signal);
  }

  /** Of a rollout that could be created. Errors as when it is created, and as {@link ofRollout}. */
  async ofNew(wanted: NewRollout, signal?: AbortSignal): Promise<Preview> {
    const { index, defaults, clock } = this.#parts;
    const brought: OfferFirmware | undefined = await index.firmware(wanted.firmwareId);
    if (brought === undefined || brought.firmware.deletedAt !== undefined) {
      throw notFound("firmware", wanted.firmwareId);
    }
    // The newest of all, as it would be.
    const rollout = asRollout(
      uuidv7(),
      { salt: uuidv4(), ...wanted },
      brought.firmware,
      defaults,
      clock.now(),
      index.models,
    );
    return this.#count(await index.compile(rollout, brought), signal);
  }

  /** How many devices the rings of a rollout hold. Errors as of {@link ofRollout}. */
  async places(rolloutId: string, signal: AbortSignal): Promise<Places> {
    return (await this.#tally(await this.#compiled(rolloutId), signal)).places();
  }

  #compiled(rolloutId: string): Promise<CompiledRollout> {
    const { index, pool } = this.#parts;
    return compiledById(pool, index, rolloutId);
  }

  async #count(rollout: CompiledRollout, caller: AbortSignal | undefined): Promise<Preview> {
    return (await this.#tally(rollout, caller)).result();
  }

  async #tally(rollout: CompiledRollout, caller: AbortSignal | undefined): Promise<PreviewTally> {
    const late = AbortSignal.timeout(this.#parts.timeoutMs ?? defaultTimeoutMs);
    const signal = caller === undefined ? late : AbortSignal.any([caller, late]);
    try {
      return await this.#turns.run(() => this.#read(rollout, signal), signal);
    } catch (error) {
      throw isTimeOut(error) || error === late.reason ? tooLarge(error) : error;
    }
  }

  async #read(rollout: CompiledRollout, signal: AbortSignal): Promise<PreviewTally> {
    const { pool, clock, heartbeatIntervalMs } = this.#parts;
    const nowMs = clock.now().getTime();
    const moment = { nowMs, heartbeatIntervalMs };
    const tally = new PreviewTally(rollout, nowMs);
    if (rollout.unreadable !== undefined) return tally;
    const targeted = parseDeviceFilter(rollout.rollout.targeting.filter, "targeting.filter");
    const [outline] = await pool.query<Outline>(outlineSql, [rollout.id]);
    const updates: PreviewUpdates = { tried: outline?.tried ?? true, open: outline?.open ?? true };
    const failure = new AbortController();
    const either = AbortSignal.any([signal, failure.signal]);
    const slices = slicesOf(outline);
    const work = async (): Promise<void> => {
      for (let slice = slices.shift(); slice !== undefined; slice = slices.shift()) {
        const parameters = new Parameters();
        const filter = compileFilterSql(targeted, parameters, moment);
        const statement = previewSql(rollout, { filter, slice, updates, moment }, parameters);
        const classes = await pool.cancellable<DeviceClass>(statement, parameters.values, either);
        for (const each of classes) tally.add(each);
      }
    };
    const workers = Array.from({ length: slicesAtOnce }, work);
    try {
      await Promise.all(workers);
    } finally {
      failure.abort();
      await Promise.allSettled(workers);
    }
    return tally;
  }
}

/** Some devices of a large fleet, which one core reads in a tenth of a second or two: 2 MB of ids. */
const sliceDevices = 125_000;

/** One core of the database each. */
const slicesAtOnce = 2;

const defaultTimeoutMs = 30_000;

/** What is known of the fleet before it is read. */
interface Outline extends PreviewUpdates {
  /** About as many as there are; -1 if nobody has counted. */
  readonly devices: number;
  /** Ids with about as many devices between each two; null if nobody has counted. */
  readonly bounds: readonly string[] | null;
}

const outlineSql = sql`
  SELECT reltuples::float8 AS devices,
    (SELECT histogram_bounds::text::text[] FROM pg_stats
     WHERE schemaname = current_schema() AND tablename = 'devices' AND attname = 'id') AS bounds,
    EXISTS (SELECT 1 FROM device_updates WHERE rollout_id = $1::uuid) AS tried,
    EXISTS (SELECT 1 FROM device_updates WHERE ended_at IS NULL AND rollout_id <> $1::uuid) AS open
  FROM pg_class WHERE oid = 'devices'::regclass`;

/** Parts of about {@link sliceDevices} by the planner's statistics, which need not be right: together they are all. */
function slicesOf(outline: Outline | undefined): PreviewSlice[] {
  const bounds = outline?.bounds ?? [];
  const slices: PreviewSlice[] = [];
  const wanted = Math.min(Math.round((outline?.devices ?? 0) / sliceDevices), bounds.length - 1);
  let after: string | null = null;
  for (let at = 1; at < wanted; at++) {
    const upTo: string | null = bounds[Math.round((at * (bounds.length - 1)) / wanted)] ?? null;
    slices.push({ after, upTo });
    after = upTo;
  }
  return [...slices, { after, upTo: null }];
}

/** PostgreSQL's query_canceled: the statement time-out. */
function isTimeOut(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "57014";
}

function tooLarge(cause: unknown): OtaError {
  return new OtaError(
    "deadline_exceeded",
    "DEADLINE_EXCEEDED",
    "the fleet could not be counted in time; narrow the targeting, or try again when the database is less busy",
    { cause },
  );
}
