import { BatchLoader } from "../infra/batch-loader.ts";
import { asDatabaseError } from "../infra/database/errors.ts";
import type { Session } from "../infra/database/session.ts";
import { prepared, sql } from "../infra/database/sql.ts";
import { staleEpoch } from "./device-refusals.ts";

/** What the database says to a stream that opens. */
export interface StreamOpening {
  /** The epoch that the stream counts in, from 1. */
  readonly epoch: number;
  /** Higher than that of every stream of the device before, on whichever replica. */
  readonly generation: number;
  /** The highest sequence of the epoch that is stored. */
  readonly durableSequence: number;
}

/**
 * Registers streams: gives each the next generation of its device, which from then on fences the older ones, and begins
 * a new epoch. Many at a time, so that a fleet that reconnects at once costs a few statements instead of thousands.
 */
export class StreamOpenings {
  readonly #pool: Session;
  readonly #loader: BatchLoader<OpenedRow>;
  #count = 0;

  constructor(pool: Session) {
    this.#pool = pool;
    this.#loader = new BatchLoader({
      load: (keys) => this.#load(keys),
      maxBatch: 1_000,
      maxPending: maxPendingOpenings,
    });
  }

  /**
   * With epoch 0 the stream counts on in the device's epoch. Throws STALE_EPOCH if the device has used a later epoch (and then leaves its living stream alone),
   * DATABASE_UNAVAILABLE, or QUEUE_FULL if too many streams open at once.
   */
  async open(deviceId: string, epoch: number): Promise<StreamOpening> {
    // Each opening has a key of its own: two streams of one device must not get one generation.
    const key = `${deviceId} ${epoch} ${this.#count++}`;
    let row: OpenedRow | undefined;
    try {
      row = await this.#loader.get(key);
    } catch (error) {
      throw asDatabaseError(error) ?? error;
    }
    if (row === undefined) throw new Error("an opening got no answer");
    if (epoch !== 0 && row.epoch > epoch) throw staleEpoch(deviceId, row.epoch);
    return { epoch: Math.max(row.epoch, 1), generation: row.generation, durableSequence: row.lastSequence };
  }

  async #load(keys: readonly string[]): Promise<ReadonlyMap<string, OpenedRow>> {
    const answers = new Map<string, OpenedRow>();
    let waiting = keys;
    while (waiting.length > 0) {
      // One statement cannot change a row twice: the second stream of a device goes into the next one.
      const round = new Map<string, string>();
      const later: string[] = [];
      for (const key of waiting) {
        const [deviceId = ""] = key.split(" ");
        if (round.has(deviceId)) later.push(key);
        else round.set(deviceId, key);
      }
      for (const row of await this.#write(round)) {
        const key = round.get(row.device_id);
        if (key !== undefined) {
          answers.set(key, {
            epoch: row.epoch,
            lastSequence: Number(row.last_sequence),
            generation: Number(row.stream_generation),
          });
        }
      }
      waiting = later;
    }
    return answers;
  }

  async #write(round: ReadonlyMap<string, string>): Promise<readonly OpenedColumns[]> {
    const epochs = [...round.values()].map((key) => Number(key.split(" ")[1]));
    return await this.#pool.query<OpenedColumns>(openStreamsSql, [[...round.keys()], epochs]);
  }
}

/** A reconnecting fleet may ask for this many openings at once; each holds some hundred bytes. */
const maxPendingOpenings = 50_000;

/** In the order of the ids, as everything that locks these rows. A stale epoch changes nothing. */
const openStreamsSql = prepared(
  "open-streams",
  sql`
  INSERT INTO device_ingest AS d (device_id, epoch, last_sequence, stream_generation)
  SELECT device_id, epoch, 0, 1 FROM unnest($1::uuid[], $2::int[]) AS t (device_id, epoch) ORDER BY device_id
  ON CONFLICT (device_id) DO UPDATE SET
    stream_generation = d.stream_generation + CASE WHEN excluded.epoch > 0 AND excluded.epoch < d.epoch THEN 0 ELSE 1 END,
    last_sequence = CASE WHEN excluded.epoch > d.epoch THEN 0 ELSE d.last_sequence END,
    epoch = greatest(d.epoch, excluded.epoch),
    updated_at = now()
  RETURNING device_id, epoch, last_sequence, stream_generation`,
);

interface OpenedRow {
  readonly epoch: number;
  readonly lastSequence: number;
  readonly generation: number;
}

interface OpenedColumns {
  readonly device_id: string;
  readonly epoch: number;
  readonly last_sequence: string;
  readonly stream_generation: string;
}
