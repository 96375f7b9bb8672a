import type { Logger } from "pino";
import type { Background } from "../../infra/background/background.ts";
import { Round } from "../../infra/background/round.ts";
import type { MachineClock } from "../../infra/clock.ts";
import { ClockWatch } from "../../infra/clock-watch.ts";
import type { Database } from "../../infra/database/database.ts";
import type { DeviceChange, DeviceChangeListener } from "../state/device-changes.ts";
import { type Presence, type PresenceCutoffs, presenceAt, presenceCutoffs } from "../state/presence.ts";
import type { PresenceMoment } from "../state/presence-sql.ts";
import type { PresenceLog } from "./presence-log.ts";
import { type PresenceChange, PresenceWheel } from "./presence-wheel.ts";
import { type SeenDevice, SeenDevices } from "./seen-devices.ts";

/** What a {@link PresenceTracker} is made of. */
export interface PresenceTrackerParts {
  readonly database: Pick<Database, "pool">;
  readonly log: PresenceLog;
  /** The one that stored times are of: the database's. */
  readonly clock: MachineClock;
  readonly logger: Logger;
  /** How often a sign of life is expected of devices with no interval of their own. */
  readonly heartbeatIntervalMs: number;
  /** The most devices to watch; 1,000,000 unless given. */
  readonly maxDevices?: number;
}

/** A device that was heard, and when. */
export interface Heard {
  readonly deviceId: string;
  readonly receivedAt: Date;
}

/**
 * Notices that devices come and go, and writes it to the {@link PresenceLog}. Each replica watches the devices that it
 * hears, and at its start those that were heard lately. A device that falls silent here is looked up before it is called
 * late, because it may have moved to another replica. What a replica that died would have noticed the others find in a sweep
 * over the whole fleet: see {@link PresenceTracker.sweep}. When the clock is set back, devices that were heard at a time
 * which is still to come by now count as heard just now: one that beats once a day would be offline until tomorrow. Of devices whose records change it reads again at what interval
 * they are expected.
 */
export class PresenceTracker implements DeviceChangeListener {
  readonly #parts: PresenceTrackerParts;
  readonly #devices: SeenDevices;
  readonly #wheel: PresenceWheel;
  readonly #clockWatch: ClockWatch;
  /** Since when, by the monotonic clock, times that the clock showed before it was set back may still be to come. */
  #setBackAtMs: number | undefined;
  /** Noticed, not written yet. */
  #changes: PresenceChange[] = [];
  #lost = 0;
  /** Up to here, in milliseconds since 1970, sweeps have looked for changes that nobody noticed. */
  #sweptToMs: number;
  /** Devices whose interval may have changed. */
  #changed = new Set<string>();
  /** Whether that of any may have. */
  #allChanged = false;
  readonly #round: Round;
  #closed = false;

  constructor(parts: PresenceTrackerParts) {
    this.#parts = parts;
    this.#devices = new SeenDevices(parts.database.pool);
    this.#wheel = new PresenceWheel(parts.heartbeatIntervalMs, parts.maxDevices ?? 1_000_000);
    this.#sweptToMs = parts.clock.now().getTime();
    const { clock, logger } = parts;
    this.#clockWatch = new ClockWatch({ clock, lookEveryMs: tickMs });
    this.#clockWatch.onGap(({ steppedMs }) => {
      if (steppedMs < 0) this.#setBackAtMs ??= clock.monotonicMs();
    });
    this.#round = new Round({ name: "presence", everyMs: tickMs, work: () => this.#tick(), clock, logger });
  }

  /** How many devices it watches. */
  get size(): number {
    return this.#wheel.size;
  }

  /** Begins to watch, also the devices that are not offline now. */
  async start(background: Background): Promise<void> {
    await this.#readAll();
    background.add(this.#round);
    this.#round.start();
  }

  deviceChanged({ deviceId, kind }: DeviceChange): void {
    if (kind !== "updated" || this.#allChanged) return;
    this.#changed.add(deviceId);
    if (this.#changed.size > maxChanged) this.changesMissed();
  }

  changesMissed(): void {
    this.#allChanged = true;
    this.#changed.clear();
  }

  /**
   * Looks up how devices that it does not watch stood before these heartbeats. Call it before they are written. Rejects
   * if the database cannot be asked. What a device had on its way when it was retired makes it no less retired.
   */
  async prepare(heard: readonly Heard[]): Promise<void> {
    const strangers = heard.filter(({ deviceId }) => !this.#wheel.has(deviceId));
    if (strangers.length === 0) return;
    const before = await this.#devices.inService(strangers.map(({ deviceId }) => deviceId));
    const { nowMs } = this.#moment();
    for (const { deviceId, receivedAt } of strangers) {
      const known = before.get(deviceId);
      if (known === undefined) continue;
      const { seenSecond: seenBefore, intervalMs } = known;
      const seenSecond = Math.floor(receivedAt.getTime() / 1_000);
      const cutoffs = this.#cutoffsAt(nowMs, intervalMs);
      const previous: Presence = seenBefore === undefined ? "unknown" : presenceAt(seenBefore, cutoffs);
      const presence = presenceAt(seenSecond, cutoffs);
      if (seenBefore !== undefined && seenSecond <= seenBefore && !isToCome(seenBefore, nowMs)) continue;
      if (!this.#wheel.add(deviceId, seenSecond, nowMs, intervalMs)) this.#lost++;
      else if (presence !== previous) this.#note({ deviceId, presence, previous, seenSecond });
    }
  }

  /** Takes note of devices whose heartbeats are written. */
  heard(heard: readonly Heard[]): void {
    for (const { deviceId, receivedAt } of heard) {
      const change = this.#wheel.heard(deviceId, Math.floor(receivedAt.getTime() / 1_000));
      if (change !== undefined) this.#note(change);
    }
  }

  /** Turns the wheel and writes what was noticed. Happens by itself every second. */
  tick(): Promise<void> {
    return this.#round.run();
  }

  /**
   * Notes the devices that fell late or offline, by their last sign of life in the database, while the replica that watched
   * them died. Reads the whole fleet (400,000 devices in 0.05 to 0.5 s), and happens by itself about once an interval; devices
   * that are watched here, or in the log already, are left out.
   */
  async sweep(): Promise<void> {
    // Whoever watches a device is given the time to say it first.
    const toMs = this.#moment().nowMs - sweepGraceMs;
    if (toMs <= this.#sweptToMs) return;
    const silent = await this.#devices.fellSilent(
      this.#moment(this.#sweptToMs),
      this.#moment(toMs),
      maxSwept,
    );
    this.#sweptToMs = toMs;
    for (const { deviceId, seenSecond, intervalMs } of silent) {
      if (this.#wheel.has(deviceId)) continue;
      const isOffline = seenSecond < this.#cutoffsAt(toMs, intervalMs).lateFrom;
      const [presence, previous] = isOffline ? (["offline", "late"] as const) : (["late", "online"] as const);
      this.#note({ deviceId, presence, previous, seenSecond });
    }
  }

  /** Stops watching. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#round.close();
  }

  /** Changes of presence that cannot be written down count as lost. */
  async #tick(): Promise<void> {
    await this.#followClock();
    await this.#readChanged();
    const silent = this.#wheel.turn(this.#moment().nowMs);
    for (let start = 0; start < silent.length; start += pageRows) {
      for (const change of await this.#confirmed(silent.slice(start, start + pageRows))) this.#note(change);
    }
    if (this.#sweepIsDue()) await this.sweep();
    if (this.#changes.length === 0 && this.#lost === 0) return;
    const changes = this.#changes;
    const lost = this.#lost;
    this.#changes = [];
    this.#lost = 0;
    await this.#parts.log.append(changes, this.#parts.clock.now(), lost).catch((error: unknown) => {
      this.#lost += lost + changes.length;
      throw error;
    });
  }

  #sweepIsDue(): boolean {
    const { clock, heartbeatIntervalMs } = this.#parts;
    const sinceMs = clock.now().getTime() - sweepGraceMs - this.#sweptToMs;
    // After a clock that was set back there is nothing to look for until it has caught up; one that is far behind was wrong.
    if (sinceMs < -maxSweepMs) this.#sweptToMs += sinceMs;
    return sinceMs >= Math.min(Math.max(heartbeatIntervalMs, minSweepMs), maxSweepMs);
  }

  /** See {@link SeenDevices.setBack}. */
  async #followClock(): Promise<void> {
    this.#clockWatch.look();
    const sinceMs = this.#setBackAtMs;
    if (sinceMs === undefined || this.#parts.clock.monotonicMs() - sinceMs < stepKnownMs) return;
    await this.#devices.setBack(this.#moment());
    this.#setBackAtMs = undefined;
  }

  /** Reads at what interval the devices are expected whose records changed. */
  async #readChanged(): Promise<void> {
    if (this.#allChanged) {
      this.#allChanged = false;
      await this.#readAll();
    }
    const changed = [...this.#changed];
    this.#changed.clear();
    for (let start = 0; start < changed.length; start += pageRows) {
      this.#expect(await this.#devices.seen(changed.slice(start, start + pageRows)));
    }
  }

  /** Reads the devices that are not offline. */
  async #readAll(): Promise<void> {
    let after: string | undefined = firstId;
    while (after !== undefined && !this.#closed) {
      const page: readonly SeenDevice[] = await this.#devices.present(this.#moment(), after, pageRows);
      this.#expect(page);
      after = page.length < pageRows ? undefined : page.at(-1)?.deviceId;
    }
  }

  /** Watches devices at the interval at which they are expected now. */
  #expect(devices: readonly SeenDevice[]): void {
    const { nowMs } = this.#moment();
    for (const { deviceId, seenSecond, intervalMs } of devices) {
      const change = this.#wheel.expect(deviceId, nowMs, intervalMs);
      if (change !== undefined) this.#note(change);
      else if (!this.#wheel.add(deviceId, seenSecond, nowMs, intervalMs)) this.#lost++;
    }
  }

  #moment(nowMs = this.#parts.clock.now().getTime()): PresenceMoment {
    return { nowMs, heartbeatIntervalMs: this.#parts.heartbeatIntervalMs };
  }

  #cutoffsAt(nowMs: number, ownIntervalMs: number | undefined): PresenceCutoffs {
    return presenceCutoffs(nowMs, ownIntervalMs ?? this.#parts.heartbeatIntervalMs);
  }

  /** Without the devices that another replica has heard since, or that are retired. */
  async #confirmed(changes: readonly PresenceChange[]): Promise<PresenceChange[]> {
    let devices: readonly SeenDevice[];
    try {
      devices = await this.#devices.seen(changes.map(({ deviceId }) => deviceId));
    } catch (error) {
      this.#lost += changes.length;
      throw error;
    }
    const seen = new Map(devices.map(({ deviceId, seenSecond }) => [deviceId, seenSecond]));
    const nowMs = this.#parts.clock.now().getTime();
    return changes.filter(({ deviceId, seenSecond }) => {
      const stored = seen.get(deviceId);
      if (stored !== undefined && (stored <= seenSecond || isToCome(stored, nowMs))) return true;
      this.#wheel.forget(deviceId);
      return false;
    });
  }

  #note(change: PresenceChange): void {
    // While the database is away only the number of changes grows.
    if (this.#changes.length >= maxNoted) {
      this.#changes.shift();
      this.#lost++;
    }
    this.#changes.push(change);
  }
}

/** Whether a second is still to come, since the clock was set back after somebody wrote it. */
function isToCome(second: number, nowMs: number): boolean {
  return second > nowMs / 1_000 + clockSlackSeconds;
}

/** By so much replicas may differ. */
const clockSlackSeconds = 5;

const tickMs = 1_000;

/** By then whoever measures by the times between two steps of the clock, such as rollouts, knows of a step. */
const stepKnownMs = 10_000;

/** More are not listed anyway. */
const maxNoted = 2_000;

/** Devices that one sweep takes note of: more are not listed anyway. */
const maxSwept = 5_000;

/** Devices asked about at once: some ten milliseconds for the server. */
const pageRows = 5_000;

/** Beyond so many changed records it is quicker to read whoever is not offline. */
const maxChanged = 50_000;

const firstId = "00000000-0000-0000-0000-000000000000";

/** How often to sweep, at intervals shorter or longer than that. */
const minSweepMs = 5_000;
const maxSweepMs = 60_000;

/** How long others have to write down what they noticed, which they do once a second. */
const sweepGraceMs = 5_000;
