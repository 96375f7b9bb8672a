import type { EntityManager } from "@mikro-orm/postgresql";
import { sessionOf } from "../infra/database/session.ts";
import { sql } from "../infra/database/sql.ts";

/** How far the heartbeats of a device are stored. */
export interface DeviceMark {
  /** From 1. */
  readonly epoch: number;
  /** The highest sequence of the epoch that is stored; 0 if none is. */
  readonly durableSequence: number;
}

/** Reads and moves devices' marks in the transactions of others: those that let a device in. */
export class DeviceMarks {
  /** Where the device's heartbeats go on. */
  async current(em: EntityManager, deviceId: string): Promise<DeviceMark> {
    const [row] = await sessionOf(em).query<{ epoch: number; last: string }>(currentSql, [deviceId]);
    return { epoch: row?.epoch ?? 1, durableSequence: Number(row?.last ?? 0) };
  }

  /**
   * Begins an epoch that the device never used, for a board in place of another one: what counts from 1 is new, and what
   * still comes of the board before is refused. Its streams are fenced off as well. Says whether that one was heard.
   */
  async begin(em: EntityManager, deviceId: string): Promise<DeviceMark & { readonly heardBefore: boolean }> {
    const [row] = await sessionOf(em).query<{ epoch: number; heard: boolean }>(beginSql, [deviceId]);
    return { epoch: row?.epoch ?? 1, durableSequence: 0, heardBefore: row?.heard === true };
  }
}

const currentSql = sql`
  SELECT greatest(epoch, 1) AS epoch, last_sequence AS last FROM device_ingest WHERE device_id = $1`;

/** Without a row the first epoch may have been used all the same: by heartbeats that are not written yet. */
const beginSql = sql`
  INSERT INTO device_ingest AS d (device_id, epoch, last_sequence, stream_generation) VALUES ($1, 2, 0, 1)
  ON CONFLICT (device_id) DO UPDATE SET epoch = greatest(d.epoch, 1) + 1, last_sequence = 0,
    stream_generation = d.stream_generation + 1, updated_at = now()
  RETURNING epoch, xmax <> 0 AS heard`;
