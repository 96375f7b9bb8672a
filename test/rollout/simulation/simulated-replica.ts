import type { DurableHeartbeat } from "../../../src/device/state/heartbeat-record.ts";
import type { Firmware } from "../../../src/firmware/firmware.ts";
import type { MachineClock } from "../../../src/infra/clock.ts";
import type { Session } from "../../../src/infra/database/session.ts";
import { plan } from "../../../src/rollout/decide/plan.ts";
import { isFinalUpdate, type ReportableState } from "../../../src/rollout/model/device-update-state.ts";
import { heardRollout } from "../../../src/rollout/model/heard-time.ts";
import { type OpenUpdate, runsTarget, type UpdateKey } from "../../../src/rollout/model/open-update.ts";
import type { Rollout } from "../../../src/rollout/model/rollout.ts";
import { newUpdate } from "../../../src/rollout/offer/new-update.ts";
import { decideOffer } from "../../../src/rollout/offer/offer-decision.ts";
import { judgeHeartbeat } from "../../../src/rollout/proof/evidence.ts";
import { changeFor, timeOut } from "../../../src/rollout/proof/evidence-change.ts";
import { HearingTime } from "../../../src/rollout/proof/hearing-time.ts";
import { nextTry } from "../../../src/rollout/proof/next-try.ts";
import { OutageLog } from "../../../src/rollout/proof/outage-log.ts";
import { found, SilenceWatch, type SilentUpdates } from "../../../src/rollout/proof/silence-watch.ts";
import { adopt, newlyTracked, note, type Tracked } from "../../../src/rollout/proof/tracked-update.ts";
import type { UpdateChange } from "../../../src/rollout/proof/transition-sql.ts";
import { UpdateDeadlines } from "../../../src/rollout/proof/update-deadlines.ts";
import { planReport } from "../../../src/rollout/proof/update-report.ts";
import { type CompiledRollout, compileRollout } from "../../../src/rollout/rules/compiled-rollout.ts";
import type { CheckedDevice, OfferFacts } from "../../../src/rollout/rules/rule.ts";
import type { RolloutStore } from "./rollout-store.ts";

/** What a {@link SimulatedReplica} is made of. */
export interface SimulatedReplicaParts {
  readonly store: RolloutStore;
  readonly firmware: Firmware;
  /** Shows the time that all replicas share. */
  readonly clock: MachineClock;
  readonly random: () => number;
  readonly newId: () => string;
}

/**
 * One replica of the service: what it knows is a copy of the store, as old as its last look. What it decides is decided by
 * the service's own functions; what it writes the store accepts only if it is as the replica saw it.
 */
export class SimulatedReplica implements SilentUpdates {
  readonly #parts: SimulatedReplicaParts;
  readonly #byDevice = new Map<string, Tracked>();
  readonly #outages: OutageLog;
  readonly #hearing: HearingTime;
  readonly #silence: SilenceWatch;
  readonly #deadlines: UpdateDeadlines;
  #logRead = 0;
  #known: Rollout;
  #before: Rollout;
  #compiled: CompiledRollout | undefined;

  constructor(parts: SimulatedReplicaParts) {
    this.#parts = parts;
    const { clock, store } = parts;
    const outages = new OutageLog(graceMs, clock.now().getTime());
    this.#outages = outages;
    this.#hearing = new HearingTime({ clock, graceMs, outages });
    this.#deadlines = new UpdateDeadlines({ outages, hearing: this.#hearing });
    this.#silence = new SilenceWatch({
      pool: lastSeenIn(store),
      updates: this,
      hearing: this.#hearing,
      outages,
      graceMs,
      heartbeatIntervalMs,
    });
    this.#known = store.read();
    this.#before = this.#known;
  }

  begun(): IteratorObject<Readonly<Tracked>> {
    return this.#byDevice.values().filter(({ update }) => update.taken);
  }

  heard({ deviceId, id }: UpdateKey, agoMs: number): void {
    const tracked = this.#byDevice.get(deviceId);
    if (tracked?.update.id === id) tracked.heardMs = this.#hearing.ms - agoMs;
  }

  async change(
    { deviceId, id }: UpdateKey,
    change: (update: Readonly<OpenUpdate>) => UpdateChange | undefined,
  ): Promise<void> {
    const tracked = this.#byDevice.get(deviceId);
    if (tracked?.update.id === id) this.#write(tracked, change(tracked.update));
  }

  /** What a look does before anything is decided; false if the database is away. */
  async look(isAway: boolean): Promise<boolean> {
    const nowMs = this.#hearing.now().getTime();
    if (isAway) {
      this.#outages.failed("database", nowMs);
      return false;
    }
    this.#poll();
    this.#outages.worked("database", nowMs);
    this.#hearing.look();
    this.#letDeadlinesPass();
    await this.#silence.tick();
    return true;
  }

  /**
   * Plans from what it read, now or a look ago, and if that says that something is to be done, plans again under the lock
   * and does it. Returns whether it did anything.
   */
  decide(): boolean {
    const { store, random } = this.#parts;
    const now = this.#hearing.now();
    const planned = (rollout: Rollout) =>
      plan(heardRollout(rollout, this.#hearing, now), { now, health: undefined, dueAlert: undefined });
    if (planned(random() < 0.3 ? this.#before : store.read()).length === 0) return false;
    const locked = store.read();
    const decisions = planned(locked);
    for (const decision of decisions) store.act(decision, locked, now);
    return decisions.length > 0;
  }

  /** Whether a device's update is open, whether this replica knows of it or not. */
  isAt(deviceId: string, updateId: string | undefined): boolean {
    return updateId !== undefined && this.#parts.store.rows.open(deviceId)?.update.id === updateId;
  }

  /** The update that a device is given when it asks. */
  check(device: CheckedDevice, key: string): Readonly<OpenUpdate> | undefined {
    const { store, clock } = this.#parts;
    store.lastSeen.set(device.id, clock.now().getTime());
    const open = this.#byDevice.get(device.id)?.update;
    if (open !== undefined) return this.#openFor(open, device);
    const compiled = this.#compile();
    const found = decideOffer(device, [compiled], this.#facts());
    if (found.kind === "none") return undefined;
    const update = { ...newUpdate(device, found, clock.now()), id: this.#parts.newId() };
    if (store.offer({ ...update }, key) !== "offered") {
      this.#poll();
      return undefined;
    }
    this.#track(update);
    return update;
  }

  /** Takes a report; returns whether the update is still open then. */
  report(deviceId: string, updateId: string, state: ReportableState, bootId: string): boolean {
    const { store, clock } = this.#parts;
    this.#load(deviceId);
    const tracked = this.#byDevice.get(deviceId);
    if (tracked?.update.id !== updateId) return false;
    const now = clock.now();
    store.lastSeen.set(deviceId, now.getTime());
    const ours = this.#outages.touched(tracked.update.offeredAtMs, now.getTime());
    const report = { updateId, state, failureReason: "MADE_UP", failureMessage: "", downloadedBytes: 0 };
    this.#write(tracked, planReport(tracked.update, report, bootId, now, ours));
    return this.#byDevice.get(deviceId)?.update.id === updateId;
  }

  /** Takes a heartbeat that is stored. */
  observe(record: DurableHeartbeat): void {
    const { store, clock } = this.#parts;
    store.lastSeen.set(record.deviceId, clock.now().getTime());
    store.bootIds.set(record.deviceId, record.bootId);
    const tracked = this.#byDevice.get(record.deviceId);
    if (tracked === undefined) return;
    tracked.heardMs = this.#hearing.ms;
    const evidence = judgeHeartbeat(tracked.update, record, this.#hearing);
    if (evidence.kind === "none") note(tracked.update, record);
    const change = evidence.kind === "none" ? undefined : changeFor(tracked.update, evidence, record);
    this.#write(tracked, change ?? found(tracked.update), change === undefined ? undefined : record.bootId);
  }

  /** The rollout as this replica knows it, ready to be asked. */
  #compile(): CompiledRollout {
    if (this.#compiled?.rollout.revision !== this.#known.revision) {
      const brought = { firmware: this.#parts.firmware, blocked: undefined };
      this.#compiled = compileRollout(this.#known, brought, { heartbeatIntervalMs });
    }
    return this.#compiled;
  }

  #facts(): OfferFacts {
    return {
      nowMs: () => this.#parts.clock.now().getTime(),
      wasTried: () => false,
      inProgress: () => this.#byDevice.size,
      pacedUntilMs: () => 0,
      openRollout: () => undefined,
    };
  }

  #openFor(open: Readonly<OpenUpdate>, device: CheckedDevice): Readonly<OpenUpdate> | undefined {
    if (open.state === "VERIFYING") return undefined;
    const rebooted = open.fromBootId === "" || device.bootId !== open.fromBootId;
    if (runsTarget(open, device.firmwareVersion) && rebooted) return undefined;
    return (open.notBeforeMs ?? 0) > this.#parts.clock.now().getTime() ? undefined : open;
  }

  #letDeadlinesPass(): void {
    const now = this.#hearing.now();
    const nowMs = now.getTime();
    for (let due = this.#deadlines.take(nowMs); due !== undefined; due = this.#deadlines.take(nowMs)) {
      const tracked = this.#byDevice.get(due.deviceId);
      if (tracked?.update.id !== due.id) continue;
      const endMs = this.#deadlines.endMs(tracked.update, nowMs);
      if (endMs <= nowMs) this.#write(tracked, timeOut(tracked.update, now));
      this.#deadlines.again(due, nowMs, endMs);
    }
  }

  #write(tracked: Tracked, change: UpdateChange | undefined, watchedBootId?: string): void {
    if (change === undefined) return;
    const { store } = this.#parts;
    const outcome = store.apply(this.#withDrawnTry(tracked.update, change));
    this.#load(change.key.deviceId);
    if (outcome === "stale") return;
    tracked.heardMs = this.#hearing.ms;
    tracked.update.missingSinceMs = change.missingSince?.getTime();
    tracked.update.watchedBootId = watchedBootId ?? tracked.update.watchedBootId;
  }

  /** The service draws the wait before a further try; here it has to be the same each time. */
  #withDrawnTry(update: OpenUpdate, change: UpdateChange): UpdateChange {
    if (change.nextTry === undefined) return change;
    const { madeAt, fromBootId } = change.nextTry;
    const drawn = nextTry(update, madeAt, fromBootId, { excused: true, random: this.#parts.random });
    return drawn === undefined ? change : { ...change, nextTry: { ...drawn, id: this.#parts.newId() } };
  }

  /** Reads what changed since the last look. */
  #poll(): void {
    const { store } = this.#parts;
    this.#before = this.#known;
    this.#known = store.read();
    for (; this.#logRead < store.log.length; this.#logRead++) this.#load(store.log[this.#logRead] ?? "");
  }

  #load(deviceId: string): void {
    const row = this.#parts.store.rows.open(deviceId);
    const tracked = this.#byDevice.get(deviceId);
    if (row === undefined || isFinalUpdate(row.update.state)) this.#byDevice.delete(deviceId);
    else if (tracked?.update.id === row.update.id) adopt(tracked, row.update, this.#hearing.ms);
    else this.#track({ ...row.update });
  }

  #track(update: OpenUpdate): void {
    this.#byDevice.set(update.deviceId, newlyTracked(update, this.#hearing.ms, 0));
    this.#deadlines.add(update);
  }
}

/** The only statement of {@link SilenceWatch}: when devices were last seen. */
function lastSeenIn({ lastSeen }: RolloutStore): Session {
  return {
    query: async <Row>(_: unknown, [ids]: readonly unknown[] = []) =>
      (ids as string[]).flatMap((id) => {
        const seenMs = lastSeen.get(id);
        return seenMs === undefined
          ? []
          : [{ device_id: id, last_seen_at: new Date(seenMs), expected_interval_ms: null }];
      }) as Row[],
    run: async () => 0,
  };
}

/** How often devices are expected. */
export const heartbeatIntervalMs = 60_000;

/** How long devices have to be heard after an outage. */
const graceMs = 3 * heartbeatIntervalMs;
