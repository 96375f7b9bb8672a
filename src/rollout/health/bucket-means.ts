import { meanSignals } from "./health-signals.ts";

/** What a heartbeat measured, as far as health is concerned. */
export interface HealthReading {
  readonly batteryPercent?: number | undefined;
  readonly charging?: boolean | undefined;
  readonly cpuPercent?: number | undefined;
  readonly memoryPercent?: number | undefined;
}

/** A device's battery drain, processor load and memory in each of its last buckets of time. */
export class BucketMeans {
  /** For each bucket kept: the mean of each signal, NaN where nothing was measured. */
  readonly #means = new Float32Array(keptBuckets * width).fill(Number.NaN);
  /** Which bucket each place holds. */
  readonly #buckets = new Int32Array(keptBuckets).fill(-1);
  #bucket = -1;
  #cpuSum = 0;
  #cpuCount = 0;
  #memorySum = 0;
  #memoryCount = 0;
  /** Charge at the first and the newest reading since external power was last connected. */
  #firstCharge = Number.NaN;
  #lastCharge = Number.NaN;
  #firstChargeMs = 0;
  #lastChargeMs = 0;

  /** Takes the reading of a heartbeat received at `nowMs`, which lies in `bucket`. */
  add(bucket: number, nowMs: number, reading: HealthReading): void {
    if (bucket !== this.#bucket) this.close(bucket);
    const { cpuPercent, memoryPercent, batteryPercent, charging } = reading;
    if (cpuPercent !== undefined) {
      this.#cpuSum += cpuPercent;
      this.#cpuCount++;
    }
    if (memoryPercent !== undefined) {
      this.#memorySum += memoryPercent;
      this.#memoryCount++;
    }
    if (batteryPercent === undefined) return;
    if (charging === true || Number.isNaN(this.#firstCharge)) {
      this.#firstCharge = batteryPercent;
      this.#firstChargeMs = nowMs;
    }
    this.#lastCharge = batteryPercent;
    this.#lastChargeMs = nowMs;
  }

  /** Ends the bucket under way, if it is another one than `next`. */
  close(next: number): void {
    if (this.#bucket === next) return;
    if (this.#bucket >= 0) {
      const place = this.#bucket % keptBuckets;
      this.#buckets[place] = this.#bucket;
      this.#means[place * width] = this.#drain();
      this.#means[place * width + 1] = this.#cpuSum / this.#cpuCount;
      this.#means[place * width + 2] = this.#memorySum / this.#memoryCount;
    }
    this.#bucket = next;
    this.#cpuSum = this.#cpuCount = this.#memorySum = this.#memoryCount = 0;
    this.#firstCharge = this.#lastCharge = Number.NaN;
  }

  /** The mean of a signal (its place in `meanSignals`) in a bucket that has ended; NaN if it is not known. */
  mean(bucket: number, signal: number): number {
    const place = bucket % keptBuckets;
    return this.#buckets[place] === bucket ? (this.#means[place * width + signal] ?? Number.NaN) : Number.NaN;
  }

  /** Percent per hour lost on battery; NaN if too short a time was seen. */
  #drain(): number {
    const hours = (this.#lastChargeMs - this.#firstChargeMs) / 3_600_000;
    return hours > 0 ? (this.#firstCharge - this.#lastCharge) / hours : Number.NaN;
  }
}

/** How many buckets a device may take for its update and still be held against its time before. */
export const keptBuckets = 8;

const width = meanSignals.length;
