import { isFinalUpdate } from "../../../src/rollout/model/device-update-state.ts";
import type { OpenUpdate } from "../../../src/rollout/model/open-update.ts";
import type { KeyCounters } from "../../../src/rollout/model/rollout.ts";
import {
  type Counts,
  noCounts,
  type RingCounters,
  ringCounters,
  rollbackCounters,
} from "../../../src/rollout/model/rollout-counters.ts";

/** One try of one device, as a row of `device_updates` has it. */
export interface UpdateRow {
  readonly update: OpenUpdate;
  readonly key: string;
  failureReason: string;
  endedAtMs: number | undefined;
  /** Whether another try follows this one. */
  retried: boolean;
}

type Counting = { -readonly [Name in keyof RingCounters]: number };
type CountingRollbacks = { -readonly [Name in keyof Counts<typeof rollbackCounters>]: number };

/** The rows of a rollout's updates, with counters that follow each change of a row, as the triggers of the database do. */
export class UpdateRows {
  readonly #byDevice = new Map<string, UpdateRow[]>();
  readonly #rings = new Map<string, Counting>();
  readonly #keys = new Map<string, Map<string, Counting>>();
  readonly #rollback: CountingRollbacks = noCounts(rollbackCounters);

  /** How many devices have any. */
  get devices(): number {
    return this.#byDevice.size;
  }

  /** The device's tries, the first one first. */
  of(deviceId: string): readonly UpdateRow[] {
    return this.#byDevice.get(deviceId) ?? [];
  }

  /** The device's try that is not over. */
  open(deviceId: string): UpdateRow | undefined {
    return this.of(deviceId).find(({ endedAtMs }) => endedAtMs === undefined);
  }

  all(): IteratorObject<UpdateRow> {
    return this.#byDevice.values().flatMap((rows) => rows.values());
  }

  add(row: UpdateRow): void {
    const { deviceId } = row.update;
    const rows = this.#byDevice.get(deviceId) ?? [];
    if (row.endedAtMs === undefined && this.open(deviceId) !== undefined)
      throw new Error(`device ${deviceId} would have two open updates`);
    this.#byDevice.set(deviceId, rows);
    rows.push(row);
    this.#count(row, 1);
  }

  /** Changes a row. One that is over stays so. */
  write(row: UpdateRow, change: (row: UpdateRow) => void): void {
    this.#count(row, -1);
    change(row);
    this.#count(row, 1);
    if (isFinalUpdate(row.update.state) !== (row.endedAtMs !== undefined))
      throw new Error(`update ${row.update.id} is ${row.update.state}, and ended: ${row.endedAtMs}`);
  }

  counters(ringId: string): RingCounters {
    return { ...this.#ring(ringId) };
  }

  /** Of a ring, most devices first, as many as the service reads. */
  keys(ringId: string): KeyCounters[] {
    const keys = [...(this.#keys.get(ringId) ?? [])].map(([keyId, counts]) => ({ keyId, ...counts }));
    return keys.sort((a, b) => b.offered - a.offered).slice(0, 8);
  }

  rollback(): Counts<typeof rollbackCounters> {
    return { ...this.#rollback };
  }

  #ring(ringId: string): Counting {
    return getOrAdd(this.#rings, ringId, () => noCounts(ringCounters));
  }

  #count(row: UpdateRow, sign: 1 | -1): void {
    const { update, key, endedAtMs, failureReason, retried } = row;
    const { state, action } = update;
    if (retried) return;
    if (action === "ROLLBACK") {
      const failed = endedAtMs !== undefined && state !== "SUCCEEDED";
      this.#rollback.total += sign;
      if (state === "SUCCEEDED") this.#rollback.completed += sign;
      if (failed) this.#rollback.failed += sign;
      if (failed && failureReason.startsWith("ROLLBACK_")) this.#rollback.blocked += sign;
      if (failed && failureReason === "ROLLBACK_TARGET_MISSING") this.#rollback.unreleased += sign;
      return;
    }
    add(this.#ring(update.ringId), row, sign);
    if (key === "") return;
    const keys = getOrAdd(this.#keys, update.ringId, () => new Map<string, Counting>());
    add(
      getOrAdd(keys, key, () => noCounts(ringCounters)),
      row,
      sign,
    );
  }
}

function add(counts: Counting, { update, endedAtMs }: UpdateRow, sign: 1 | -1): void {
  const { state } = update;
  const failed = state === "FAILED" || state === "TIMED_OUT";
  const isOpen = endedAtMs === undefined;
  counts.offered += sign;
  if (isOpen) counts.inProgress += sign;
  if (state === "SUCCEEDED") counts.succeeded += sign;
  if (failed) counts.failed += sign;
  if (state === "CANCELLED" || state === "SUPERSEDED") counts.cancelled += sign;
  if (state === "ROLLED_BACK") counts.rolledBack += sign;
  if ((isOpen && update.installingAtMs !== undefined) || state === "SUCCEEDED" || failed)
    counts.began += sign;
  if (isOpen && update.missingSinceMs !== undefined) counts.missing += sign;
}

function getOrAdd<Key, Value>(map: Map<Key, Value>, key: Key, make: () => Value): Value {
  const known = map.get(key);
  if (known !== undefined) return known;
  const made = make();
  map.set(key, made);
  return made;
}
