import type { DurableHeartbeat } from "../../device/state/heartbeat-record.ts";
import type { Session } from "../../infra/database/session.ts";
import type { Logger } from "../../infra/logger.ts";
import type { DeviceUpdateState } from "../model/device-update.entity.ts";
import { deviceUpdateStates, isFinalUpdate } from "../model/device-update-state.ts";
import type { OpenUpdate, UpdateKey } from "../model/open-update.ts";
import { judgeHeartbeat } from "./evidence.ts";
import { changeFor, timeOut } from "./evidence-change.ts";
import type { HearingTime } from "./hearing-time.ts";
import {
  type OpenProgress,
  readChanged,
  readClock,
  readOpenKeys,
  readOpenUpdates,
  readStates,
} from "./open-update-rows.ts";
import type { OutageLog } from "./outage-log.ts";
import { found, type SilentUpdates } from "./silence-watch.ts";
import { adopt, newlyTracked, note, type Tracked } from "./tracked-update.ts";
import type { UpdateChange } from "./transition-sql.ts";
import type { TransitionWriter } from "./transition-writer.ts";
import { UpdateDeadlines } from "./update-deadlines.ts";
import { UpdateSlots } from "./update-slots.ts";
import { UpdateStatusReader } from "./update-status-reader.ts";

/** What an {@link UpdateTracker} is made of. */
export interface UpdateTrackerParts {
  readonly pool: Session;
  readonly writer: TransitionWriter;
  readonly outages: OutageLog;
  readonly hearing: HearingTime;
  readonly logger: Logger;
  /**
   * Told of an update that is over; `here` if this replica wrote that for the device's own evidence, reports or deadline,
   * and not another one, or a decision over the rollout or device. Must not throw.
   */
  readonly ended: (update: OpenUpdate, state: DeviceUpdateState, here: boolean) => void;
  /** Told of a device that this replica found missing, or back. Must not throw. */
  readonly silence: (update: OpenUpdate, missing: boolean) => void;
}

/**
 * The open updates of all devices, in the memory of every replica: their number is bounded by the rollouts' limits of
 * devices in progress. It holds heartbeats against them and sees that deadlines pass. What it knows is a copy: every change
 * is a compare-and-set in the database, and memory follows after the commit. What other replicas change it learns from a
 * poll; until then a change that rests on an old state is refused by the database and the row is read again. Since every
 * replica holds every open update, those of a replica that died need no sweep of their own.
 */
export class UpdateTracker implements SilentUpdates {
  readonly #parts: UpdateTrackerParts;
  readonly #byDevice = new Map<string, Tracked>();
  readonly #slots = new UpdateSlots();
  readonly #deadlines: UpdateDeadlines;
  readonly #reader: UpdateStatusReader;
  /** Rises with every update that is added: tells what a slow read cannot have seen. */
  #additions = 0;
  #polledUpTo: string | undefined;
  /** For each read that is under way, the updates that ended here meanwhile: what it saw of them is old. */
  readonly #endedMeanwhile = new Set<Set<string>>();

  constructor(parts: UpdateTrackerParts) {
    this.#parts = parts;
    this.#reader = new UpdateStatusReader(parts.pool);
    this.#deadlines = new UpdateDeadlines(parts);
  }

  /** How many updates are open. */
  get size(): number {
    return this.#byDevice.size;
  }

  /** How many devices are missing. */
  get missing(): number {
    return this.begun().reduce((sum, { update }) => sum + (update.missingSinceMs === undefined ? 0 : 1), 0);
  }

  /** The device's open update. */
  get(deviceId: string): Readonly<OpenUpdate> | undefined {
    return this.#byDevice.get(deviceId)?.update;
  }

  begun(): IteratorObject<Readonly<Tracked>> {
    return this.#byDevice.values().filter(({ update }) => update.taken);
  }

  heard({ deviceId, id }: UpdateKey, agoMs: number): void {
    const tracked = this.#byDevice.get(deviceId);
    if (tracked?.update.id === id) tracked.heardMs = this.#parts.hearing.ms - agoMs;
  }

  /** How many devices are at a rollout's update: those that take one of its slots. */
  inProgress(rolloutId: string): number {
    return this.#slots.taken(rolloutId);
  }

  /**
   * Takes an update that was just made durable. One that is known, or older than the one known, changes nothing; another
   * one of the device that had not begun to install gave way to it.
   */
  add(update: OpenUpdate): void {
    const known = this.#byDevice.get(update.deviceId);
    if (known !== undefined) {
      if (known.update.id === update.id) {
        adopt(known, update, this.#parts.hearing.ms);
        this.#slots.count(known);
        return;
      }
      // Ids rise with time, and a device has one open update.
      if (known.update.id > update.id) return;
      this.#drop(known);
    }
    const superseded = known !== undefined && !known.update.taken ? known.update : undefined;
    const heardMs = this.#parts.hearing.ms;
    const added: Tracked = newlyTracked(update, heardMs, ++this.#additions);
    this.#byDevice.set(update.deviceId, added);
    this.#slots.count(added);
    this.#deadlines.add(update);
    if (superseded !== undefined) this.#parts.ended(superseded, "SUPERSEDED", false);
  }

  /** Takes heartbeats that are stored durably. Most are of devices without an open update: one lookup each. */
  observe(records: readonly DurableHeartbeat[]): void {
    for (const record of records) {
      const tracked = this.#byDevice.get(record.deviceId);
      if (tracked === undefined) continue;
      tracked.heardMs = this.#parts.hearing.ms;
      if (tracked.writing === undefined) this.#judge(tracked, record);
      else if (tracked.stash.length < maxStash) tracked.stash.push(record);
    }
  }

  /**
   * Changes a device's update as `plan` says, given how it stands when its turn comes; `undefined` leaves it. Returns the
   * state in the end, or undefined if the update is not open (any more): its row then says how it ended. Throws
   * `DATABASE_UNAVAILABLE` if the change could not be stored.
   */
  async change(
    { deviceId, id }: UpdateKey,
    plan: (update: Readonly<OpenUpdate>) => UpdateChange | undefined,
  ): Promise<DeviceUpdateState | undefined> {
    for (let attempt = 0; attempt < maxAttempts; attempt++) {
      const tracked = this.#byDevice.get(deviceId);
      if (tracked?.update.id !== id) return undefined;
      if (tracked.writing !== undefined) {
        await tracked.writing;
        continue;
      }
      const change = plan(tracked.update);
      if (change === undefined) return tracked.update.state;
      const outcome = await this.#write(tracked, change, undefined, this.#parts.writer.change(change));
      if (outcome === "applied") return change.to;
    }
    return undefined;
  }

  /** Lets deadlines pass. Called about every second. */
  tick(): void {
    const deadlines = this.#deadlines;
    const now = this.#parts.hearing.now();
    const nowMs = now.getTime();
    for (let due = deadlines.take(nowMs); due !== undefined; due = deadlines.take(nowMs)) {
      const tracked = this.#byDevice.get(due.deviceId);
      if (tracked?.update.id !== due.id) continue;
      const endMs = deadlines.endMs(tracked.update, nowMs);
      // Busy ones are looked at again as well: what is being written may be the proof.
      const passed = endMs <= nowMs && tracked.writing === undefined;
      if (passed) this.#submit(tracked, timeOut(tracked.update, now), undefined);
      deadlines.again(due, nowMs, endMs);
    }
  }

  /** Takes over under which texts devices report what they are at, after the catalogue changed. */
  renamed(reportedVersions: (firmwareId: string) => readonly string[]): void {
    for (const { update } of this.#byDevice.values()) {
      update.reportedVersions = reportedVersions(update.firmwareId);
    }
  }

  /** Reads what other replicas began or changed since the last poll; the first call reads everything. */
  async poll(): Promise<void> {
    await this.#adding(async () => {
      const { pool } = this.#parts;
      const since = this.#polledUpTo;
      const asOf = await readClock(pool);
      const changed = since === undefined ? undefined : await readChanged(pool, since);
      const deviceIds = changed?.filter((each) => !this.#knows(each)).map(({ deviceId }) => deviceId);
      const updates = deviceIds?.length === 0 ? [] : await readOpenUpdates(pool, { deviceIds });
      this.#polledUpTo = asOf;
      return updates;
    });
  }

  /** Finds out which updates are over, of one rollout or of all, and reads those that are not known. */
  async reconcile(rolloutId?: string): Promise<void> {
    const { pool } = this.#parts;
    const before = this.#additions;
    const updates = await this.#adding(() => readOpenUpdates(pool, { rolloutId }));
    const open = rolloutId === undefined ? await readOpenKeys(pool) : new Set(updates.map(({ id }) => id));
    const gone = [...this.#byDevice.values()].filter(
      ({ update, addition, writing }) =>
        addition <= before &&
        writing === undefined &&
        !open.has(update.id) &&
        (rolloutId === undefined || update.rolloutId === rolloutId),
    );
    await this.#settle(gone);
  }

  /** Reads a device's open update, which another replica may have made a moment ago. */
  async load(deviceId: string): Promise<Readonly<OpenUpdate> | undefined> {
    await this.#adding(async () => {
      const update = await this.#reader.open(deviceId);
      return update === undefined ? [] : [update];
    });
    return this.get(deviceId);
  }

  /** How an update stands in the database, open or not; undefined if the device never had it. */
  async stored(key: UpdateKey): Promise<DeviceUpdateState | undefined> {
    return (await this.#reader.status(key))?.state;
  }

  /** Looks at one device's update in the database, after something outside of the tracker may have ended it. */
  async recheck(deviceId: string): Promise<void> {
    const tracked = this.#byDevice.get(deviceId);
    if (tracked === undefined) return;
    await tracked.writing;
    await this.#settleOne(tracked);
  }

  #judge(tracked: Tracked, record: DurableHeartbeat): void {
    const { update } = tracked;
    const evidence = judgeHeartbeat(update, record, this.#parts.hearing);
    if (evidence.kind === "none") note(update, record);
    const change = evidence.kind === "none" ? undefined : changeFor(update, evidence, record);
    const wanted = change ?? found(update);
    if (wanted !== undefined) this.#submit(tracked, wanted, change === undefined ? undefined : record.bootId);
  }

  #submit(tracked: Tracked, change: UpdateChange, watchedBootId: string | undefined): void {
    this.#write(tracked, change, watchedBootId, this.#parts.writer.evidence(change)).catch(
      (error: unknown) => {
        this.#parts.logger.warn({ err: error, update: change.key }, "could not store what heartbeats showed");
      },
    );
  }

  async #write(
    tracked: Tracked,
    change: UpdateChange,
    watchedBootId: string | undefined,
    outcome: Promise<"applied" | "stale">,
  ): Promise<"applied" | "stale"> {
    const { promise: writing, resolve: written } = Promise.withResolvers<void>();
    tracked.writing = writing;
    try {
      const result = await outcome;
      if (result === "applied") {
        this.#apply(tracked, change, watchedBootId);
        // The device waits for its further try from now on: it must not be taken for one that has none.
        if (change.nextTry !== undefined) await this.load(change.key.deviceId);
      } else await this.#settleOne(tracked);
      return result;
    } finally {
      tracked.writing = undefined;
      written();
      this.#unstash(tracked);
    }
  }

  #apply(tracked: Tracked, change: UpdateChange, watchedBootId: string | undefined): void {
    const { update } = tracked;
    tracked.heardMs = this.#parts.hearing.ms;
    const missing = change.missingSince !== undefined;
    if (missing !== (update.missingSinceMs !== undefined) && change.to !== "TIMED_OUT")
      this.#parts.silence(update, missing);
    update.missingSinceMs = change.missingSince?.getTime();
    update.state = change.to;
    update.fromBootId = change.fromBootId ?? update.fromBootId;
    update.crashCount = change.crashCount ?? update.crashCount;
    update.installingAtMs ??= change.installingAt?.getTime();
    update.taken = update.installingAtMs !== undefined;
    update.provenAtMs ??= change.provenAt?.getTime();
    update.deadlineAtMs = change.deadlineAt?.getTime() ?? update.deadlineAtMs;
    update.watchedBootId = watchedBootId ?? update.watchedBootId;
    this.#slots.count(tracked);
    if (isFinalUpdate(change.to) && this.#drop(tracked)) this.#parts.ended(update, change.to, true);
  }

  #unstash(tracked: Tracked): void {
    while (tracked.writing === undefined && tracked.stash.length > 0) {
      const record = tracked.stash.shift();
      if (record === undefined || this.#byDevice.get(record.deviceId) !== tracked) return;
      this.#judge(tracked, record);
    }
  }

  /** As {@link #settle}, for an update that is one of many to be read at the same time. */
  async #settleOne(tracked: Tracked): Promise<void> {
    await this.#adding(async () => {
      const status = await this.#reader.status(tracked.update);
      if (isOver(status?.state)) this.#over(tracked, status?.state);
      return status?.open === undefined ? [] : [status.open];
    });
  }

  /** Reads how updates stand that may be over, and forgets those that are. */
  async #settle(doubtful: readonly Tracked[]): Promise<void> {
    if (doubtful.length === 0) return;
    const { pool } = this.#parts;
    const states = await readStates(
      pool,
      doubtful.map(({ update }) => update),
    );
    await this.#adding(async () => {
      const updates = await readOpenUpdates(pool, {
        deviceIds: doubtful
          .filter(({ update }) => !isOver(states.get(update.id)))
          .map(({ update }) => update.deviceId),
      });
      for (const tracked of doubtful) {
        const state = states.get(tracked.update.id);
        if (isOver(state)) this.#over(tracked, state);
      }
      return updates;
    });
  }

  /** Whether an update is here and as far, or further. */
  #knows({ deviceId, id, state, crashCount, notBeforeMs, missing }: OpenProgress): boolean {
    const update = this.get(deviceId);
    if (update?.id !== id) return false;
    const ahead = deviceUpdateStates.indexOf(state) - deviceUpdateStates.indexOf(update.state);
    if (ahead !== 0) return ahead < 0;
    if (missing !== (update.missingSinceMs !== undefined)) return false;
    return crashCount <= update.crashCount && notBeforeMs === update.notBeforeMs;
  }

  /** Adds what a read finds open, unless it ended here since the read began: an update never reopens. */
  async #adding(read: () => Promise<readonly OpenUpdate[]>): Promise<readonly OpenUpdate[]> {
    const ended = new Set<string>();
    this.#endedMeanwhile.add(ended);
    try {
      const updates = await read();
      for (const update of updates) if (!ended.has(update.id)) this.add(update);
      return updates;
    } finally {
      this.#endedMeanwhile.delete(ended);
    }
  }

  /** Forgets an update that others ended. */
  #over(tracked: Tracked, state: DeviceUpdateState | undefined): void {
    if (this.#drop(tracked)) this.#parts.ended(tracked.update, state ?? "CANCELLED", false);
  }

  #drop(tracked: Tracked): boolean {
    const { deviceId, id } = tracked.update;
    if (this.#byDevice.get(deviceId) !== tracked) return false;
    this.#byDevice.delete(deviceId);
    for (const ended of this.#endedMeanwhile) ended.add(id);
    this.#slots.release(tracked);
    return true;
  }
}

/** Heartbeats kept for a device while a change is being written: as many as come in a batch of a short absence. */
const maxStash = 64;

/** Times a caller's change is tried when others change the same update at the same time. */
const maxAttempts = 8;

function isOver(state: DeviceUpdateState | undefined): boolean {
  return state === undefined || isFinalUpdate(state);
}
