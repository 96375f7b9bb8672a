import { BucketMeans, type HealthReading, keptBuckets } from "./bucket-means.ts";
import { addEvidence, type EvidenceSums, noEvidence } from "./evidence-sums.ts";
import { eventSignals, meanSignals, type SignalName } from "./health-signals.ts";
import { shiftOf } from "./mean-shift.ts";
import { eventLogFactors } from "./safe-logrank.ts";

/**
 * On which side of the comparison a device is: it runs the rollout's version, or it is targeted and runs another one, or
 * neither (it is at an update now).
 */
export type CohortSide = "updated" | "control" | "neither";

/** A heartbeat that is no backlog, as far as health is concerned. */
export interface CohortBeat extends HealthReading {
  readonly deviceId: string;
  readonly hardwareModel: string;
  readonly receivedAtMs: number;
  readonly bootId: string;
  readonly crashed: boolean;
}

/**
 * One rollout's devices as this replica sees them, and what their heartbeats say about its health. Bounded: of a large
 * fleet a sample is watched, chosen by device id, so that both sides are sampled alike. Memory only: after a restart the
 * devices are watched anew, and what was seen before is in the sums already.
 */
export class RolloutCohorts {
  readonly #bucketMs: number;
  readonly #maxDevices: number;
  readonly #devices = new Map<string, Watched>();
  readonly #models = new Map<string, Model>();
  readonly #sums = new Map<SignalName, EvidenceSums>();
  #sampleBelow = sampleSteps;
  #bucket: number | undefined;

  constructor({
    bucketMs,
    maxDevices = 20_000,
  }: { readonly bucketMs: number; readonly maxDevices?: number }) {
    this.#bucketMs = bucketMs;
    this.#maxDevices = maxDevices;
  }

  /** How many devices are watched. */
  get size(): number {
    return this.#devices.size;
  }

  /** How many devices are on each side now. */
  counts(): { readonly updated: number; readonly control: number } {
    let [updated, control] = [0, 0];
    for (const { side } of this.#devices.values()) {
      if (side === "updated") updated++;
      else if (side === "control") control++;
    }
    return { updated, control };
  }

  /** Whether a device is in the sample: ask before going to the trouble of finding out its side. */
  watches(deviceId: string): boolean {
    return this.#sampleBelow === sampleSteps || sampleOf(deviceId) < this.#sampleBelow;
  }

  /** Takes one heartbeat of a device of the sample. */
  observe(side: CohortSide, beat: CohortBeat): void {
    const bucket = Math.floor(beat.receivedAtMs / this.#bucketMs);
    this.#bucket ??= bucket;
    const device = this.#devices.get(beat.deviceId) ?? this.#begin(beat);
    // It ran the new version and does no more: it is no fair comparison for those that never did.
    const now = device.updatedIn >= 0 && side !== "updated" ? "neither" : side;
    if (now !== device.side) this.#cross(device, now, bucket);
    else if (now !== "neither") this.#judge(device, beat);
    device.lastSeenMs = beat.receivedAtMs;
    device.bootId = beat.bootId;
    if (now === "neither") return;
    if (!device.present) this.#join(device);
    device.means.add(bucket, beat.receivedAtMs, beat);
  }

  /** Ends the buckets that lie before `nowMs`: silence, device hours and means are judged then. */
  tick(nowMs: number): void {
    const bucket = Math.floor(nowMs / this.#bucketMs);
    if (this.#bucket === undefined || bucket <= this.#bucket) return;
    // After a pause of our own only the last whole bucket can be judged.
    const wasAway = bucket > this.#bucket + 1;
    this.#bucket = bucket;
    for (const device of this.#devices.values()) device.means.close(bucket);
    this.#countHours();
    if (!wasAway) this.#judgeSilence((bucket - 1) * this.#bucketMs);
    this.#judgeMeans(bucket - 1);
  }

  /** What was seen since the last call, by signal. */
  take(): Map<SignalName, EvidenceSums> {
    const taken = new Map(this.#sums);
    this.#sums.clear();
    return taken;
  }

  #begin({ deviceId, hardwareModel }: CohortBeat): Watched {
    const device = new Watched(this.#model(hardwareModel));
    this.#devices.set(deviceId, device);
    while (this.#devices.size > this.#maxDevices) this.#thinOut();
    return device;
  }

  #model(name: string): Model {
    const key = this.#models.has(name) || this.#models.size < maxModels ? name : "";
    let model = this.#models.get(key);
    if (model === undefined) {
      model = new Model();
      this.#models.set(key, model);
    }
    return model;
  }

  /** Halves the sample: the devices that stay were in it before, on either side. */
  #thinOut(): void {
    this.#sampleBelow = Math.floor(this.#sampleBelow / 2);
    for (const [deviceId, device] of this.#devices) {
      if (sampleOf(deviceId) < this.#sampleBelow) continue;
      this.#leave(device);
      this.#devices.delete(deviceId);
    }
  }

  /** A device comes to another side: what its first heartbeat there tells may be of its time before. */
  #cross(device: Watched, side: CohortSide, bucket: number): void {
    this.#leave(device);
    if (device.side === "control") device.stayedUntil = bucket;
    if (side === "control" && device.side === "neither") device.stayedSince = bucket;
    if (side === "updated") device.updatedIn = bucket;
    device.side = side;
  }

  #judge(device: Watched, beat: CohortBeat): void {
    if (beat.crashed) this.#strike(device, crash);
    if (beat.bootId !== device.bootId) this.#strike(device, reboot);
  }

  /** A device has an event, if it is at risk of it. */
  #strike(device: Watched, event: number): void {
    if (!device.present || device.side === "neither" || (device.struck & (1 << event)) !== 0) return;
    const atRisk = device.model.atRisk[event];
    const signal = eventSignals[event];
    if (atRisk === undefined || signal === undefined) return;
    const { side } = device;
    this.#add(signal.name, {
      ...noEvidence,
      updatedEvents: side === "updated" ? 1 : 0,
      controlEvents: side === "control" ? 1 : 0,
      logFactors: eventLogFactors(side, atRisk),
    });
    atRisk[side]--;
    device.struck |= 1 << event;
  }

  #join(device: Watched): void {
    if (device.side === "neither") return;
    device.present = true;
    this.#move(device, 1);
  }

  #leave(device: Watched): void {
    if (!device.present || device.side === "neither") return;
    device.present = false;
    this.#move(device, -1);
  }

  #move({ model, side, struck }: Watched, step: 1 | -1): void {
    if (side === "neither") return;
    for (let event = 0; event < eventSignals.length; event++) {
      const atRisk = model.atRisk[event];
      if (atRisk !== undefined && (struck & (1 << event)) === 0) atRisk[side] += step;
    }
  }

  #countHours(): void {
    const hours = this.#bucketMs / 3_600_000;
    for (const { atRisk } of this.#models.values()) {
      for (const [event, { updated, control }] of atRisk.entries()) {
        const signal = eventSignals[event];
        if (signal === undefined || updated + control === 0) continue;
        this.#add(signal.name, {
          ...noEvidence,
          updatedHours: updated * hours,
          controlHours: control * hours,
        });
      }
    }
  }

  /** Devices that were not heard from for the whole bucket, unless so many fell silent at once that it must be us. */
  #judgeSilence(startMs: number): void {
    const silent = new Map<Model, Watched[]>();
    for (const device of this.#devices.values()) {
      if (!device.present || device.lastSeenMs >= startMs) continue;
      const list = silent.get(device.model);
      if (list === undefined) silent.set(device.model, [device]);
      else list.push(device);
    }
    for (const [model, devices] of silent) {
      const atRisk = model.atRisk[silence];
      const present = atRisk === undefined ? 0 : atRisk.updated + atRisk.control;
      const ours = devices.length > present * outageShare && devices.length >= outageDevices;
      for (const device of devices) {
        if (!ours) this.#strike(device, silence);
        this.#leave(device);
      }
    }
  }

  #judgeMeans(ended: number): void {
    const groups = new Map<Model, Map<number, Watched[]>>();
    for (const device of this.#devices.values()) {
      // The first whole bucket after the update against the last whole one before it.
      if (device.side !== "updated" || device.updatedIn !== ended - 1 || device.stayedUntil < 0) continue;
      const before = device.stayedUntil - 1;
      if (ended - before >= keptBuckets) continue;
      const byBefore = groups.get(device.model) ?? new Map<number, Watched[]>();
      groups.set(device.model, byBefore);
      const list = byBefore.get(before);
      if (list === undefined) byBefore.set(before, [device]);
      else list.push(device);
    }
    if (groups.size === 0) return;
    const stayed = this.#stayed();
    for (const [model, byBefore] of groups) {
      for (const [before, updated] of byBefore) {
        this.#compare(updated, stayed.get(model) ?? [], before, ended);
      }
    }
  }

  #stayed(): Map<Model, Watched[]> {
    const stayed = new Map<Model, Watched[]>();
    for (const device of this.#devices.values()) {
      if (device.side !== "control") continue;
      const list = stayed.get(device.model);
      if (list === undefined) stayed.set(device.model, [device]);
      else list.push(device);
    }
    return stayed;
  }

  #compare(updated: readonly Watched[], stayed: readonly Watched[], before: number, after: number): void {
    const control = stayed.filter(({ stayedSince }) => stayedSince < before);
    for (const [at, signal] of meanSignals.entries()) {
      const changes = {
        updated: changesOf(updated, at, before, after),
        control: changesOf(control, at, before, after),
      };
      const shift = shiftOf(changes, signal.noticeable / leastSpreadShare);
      if (shift === undefined) continue;
      this.#add(signal.name, {
        ...noEvidence,
        ...shift,
        updatedCount: changes.updated.length,
        controlCount: changes.control.length,
        updatedHours: (changes.updated.length * this.#bucketMs) / 3_600_000,
        controlHours: (changes.control.length * this.#bucketMs) / 3_600_000,
      });
    }
  }

  #add(signal: SignalName, sums: EvidenceSums): void {
    const known = this.#sums.get(signal);
    this.#sums.set(signal, known === undefined ? sums : addEvidence(known, sums));
  }
}

/** A device that is watched. */
class Watched {
  readonly model: Model;
  readonly means = new BucketMeans();
  side: CohortSide = "neither";
  /** Whether it counts as at risk now: it was heard from of late. */
  present = false;
  /** One bit for each event that it had. */
  struck = 0;
  bootId = "";
  lastSeenMs = 0;
  /** The bucket in which it was first seen on the new version; -1 if it never was. */
  updatedIn = -1;
  /** The bucket in which it left the devices that stayed; -1 if it was never one. */
  stayedUntil = -1;
  /** The bucket since when it is one of those that stayed. */
  stayedSince = -1;

  constructor(model: Model) {
    this.model = model;
  }
}

/** The devices of one hardware model, which are compared with each other only. */
class Model {
  /** How many could have each event now. */
  readonly atRisk = eventSignals.map(() => ({ updated: 0, control: 0 }));
}

const [crash, reboot, silence] = [0, 1, 2];

/** Models that are told apart; those beyond share a place. */
const maxModels = 1_000;

/** If this share of a model's devices falls silent in one bucket, and at least so many, the fault is not theirs. */
const outageShare = 0.5;
const outageDevices = 10;

/** Changes that spread less than this part of what counts are taken for measured no better than that. */
const leastSpreadShare = 10;

const sampleSteps = 65_536;

/** 0 to 65,535, even over devices: the last digits of a UUID version 7 are random. */
function sampleOf(deviceId: string): number {
  return Number.parseInt(deviceId.slice(-4), 16);
}

function changesOf(devices: readonly Watched[], signal: number, before: number, after: number): number[] {
  const changes: number[] = [];
  for (const { means } of devices) {
    const change = means.mean(after, signal) - means.mean(before, signal);
    if (!Number.isNaN(change)) changes.push(change);
  }
  return changes;
}
