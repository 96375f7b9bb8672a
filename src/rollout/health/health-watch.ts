import type { DeviceSnapshot } from "../../device/state/device-snapshot.ts";
import type { DurableHeartbeat } from "../../device/state/heartbeat-record.ts";
import type { Clock } from "../../infra/clock.ts";
import { asDatabaseError } from "../../infra/database/errors.ts";
import type { Pool } from "../../infra/database/pool.ts";
import type { Logger } from "../../infra/logger.ts";
import { addEvidence, type EvidenceSums } from "./evidence-sums.ts";
import { HealthEvidence, type RolloutEvidence } from "./health-evidence.ts";
import type { SignalName } from "./health-signals.ts";
import { type HealthVerdict, type JudgedHealth, judgeHealth } from "./health-verdict.ts";
import { type CohortSide, RolloutCohorts } from "./rollout-cohorts.ts";

/** A rollout whose devices are compared. */
export interface ComparedRollout {
  readonly id: string;
  /** See the contract's RolloutPolicy.health_alpha. */
  readonly alpha: number;
}

/** Says what a device is to the rollouts; answered from memory. */
export interface CohortSource {
  /** The rollouts under way that target a device, whether or not its ring is open. */
  rolloutsOf(device: DeviceSnapshot): readonly ComparedRollout[];
  /** On which side a device is that sent this heartbeat. */
  sideOf(rolloutId: string, record: DurableHeartbeat, device: DeviceSnapshot): CohortSide;
  /** A rollout that is under way. */
  get(rolloutId: string): ComparedRollout | undefined;
}

/** What a {@link HealthWatch} is made of. */
export interface HealthWatchParts {
  readonly pool: Pool;
  readonly devices: { get(deviceId: string): DeviceSnapshot | Promise<DeviceSnapshot> };
  readonly cohorts: CohortSource;
  readonly clock: Clock;
  readonly logger: Logger;
  /** How long devices are watched before silence and means are judged: some tens of heartbeat intervals. */
  readonly bucketMs: number;
}

/**
 * Holds the heartbeats of updated devices against those of the others, for each rollout under way, and knows what all
 * replicas have seen together. What this replica has seen is added to the database about every second.
 */
export class HealthWatch {
  readonly #parts: HealthWatchParts;
  readonly #store: HealthEvidence;
  readonly #watched = new Map<string, RolloutCohorts>();
  /** Seen here and not in the database yet. */
  readonly #unsaved = new Map<string, Map<SignalName, EvidenceSums>>();
  #known: ReadonlyMap<string, RolloutEvidence> = new Map();

  constructor(parts: HealthWatchParts) {
    this.#parts = parts;
    this.#store = new HealthEvidence(parts.pool);
  }

  /** Takes heartbeats that are stored durably. On the hot path: nothing to do without rollouts. */
  observe(records: readonly DurableHeartbeat[]): void {
    for (const record of records) {
      // What was delivered late says nothing about now.
      if (record.backlog !== true) this.#observe(record);
    }
  }

  /** What is known of a rollout's health by now. */
  verdictOf(rolloutId: string): { readonly verdict: HealthVerdict; readonly message: string } | undefined {
    const rollout = this.#parts.cohorts.get(rolloutId);
    const evidence = this.#known.get(rolloutId);
    return rollout && evidence && judgeHealth(evidence, rollout.alpha);
  }

  /** A rollout's health with all numbers, read from the database. */
  async read(rolloutId: string, alpha: number): Promise<JudgedHealth> {
    const evidence = await this.#store.read([rolloutId]);
    return judgeHealth(evidence.get(rolloutId) ?? new Map(), alpha);
  }

  /** How many devices of a rollout this replica watches on each side. */
  devicesOf(rolloutId: string): { readonly updated: number; readonly control: number } {
    return this.#watched.get(rolloutId)?.counts() ?? { updated: 0, control: 0 };
  }

  /** Ends spans of time, saves what was seen and learns what other replicas saw. Happens about every second. */
  async tick(): Promise<void> {
    const nowMs = this.#parts.clock.now().getTime();
    for (const [rolloutId, cohorts] of this.#watched) {
      cohorts.tick(nowMs);
      this.#keep(rolloutId, cohorts.take());
      if (this.#parts.cohorts.get(rolloutId) === undefined) this.#watched.delete(rolloutId);
    }
    for (const [rolloutId, seen] of this.#unsaved) await this.#save(rolloutId, seen);
    this.#known = this.#watched.size === 0 ? new Map() : await this.#store.read([...this.#watched.keys()]);
  }

  #observe(record: DurableHeartbeat): void {
    const { devices, cohorts } = this.#parts;
    const device = devices.get(record.deviceId);
    if (device instanceof Promise) {
      // It is being read; its next heartbeat will find it.
      device.catch(() => undefined);
      return;
    }
    for (const rollout of cohorts.rolloutsOf(device)) {
      let watched = this.#watched.get(rollout.id);
      if (watched === undefined) {
        watched = new RolloutCohorts({ bucketMs: this.#parts.bucketMs });
        this.#watched.set(rollout.id, watched);
      }
      if (!watched.watches(record.deviceId)) continue;
      watched.observe(cohorts.sideOf(rollout.id, record, device), {
        deviceId: record.deviceId,
        hardwareModel: device.hardwareModel,
        receivedAtMs: record.receivedAt.getTime(),
        bootId: record.bootId,
        crashed: record.errors.some(({ fatal }) => fatal),
        batteryPercent: record.batteryPercent,
        charging: record.charging,
        cpuPercent: record.cpuPercent,
        memoryPercent: record.memoryPercent,
      });
    }
  }

  #keep(rolloutId: string, seen: ReadonlyMap<SignalName, EvidenceSums>): void {
    if (seen.size === 0) return;
    const unsaved = this.#unsaved.get(rolloutId) ?? new Map<SignalName, EvidenceSums>();
    this.#unsaved.set(rolloutId, unsaved);
    for (const [signal, sums] of seen) {
      const known = unsaved.get(signal);
      unsaved.set(signal, known === undefined ? sums : addEvidence(known, sums));
    }
  }

  /** What cannot be saved now is kept for the next time: a few sums, however long the database is away. */
  async #save(rolloutId: string, seen: ReadonlyMap<SignalName, EvidenceSums>): Promise<void> {
    try {
      await this.#store.add(rolloutId, seen);
      this.#unsaved.delete(rolloutId);
    } catch (error) {
      const level = asDatabaseError(error) === undefined ? "error" : "debug";
      this.#parts.logger[level](
        { err: error, rolloutId },
        "could not save what was seen of a rollout's health",
      );
    }
  }
}
