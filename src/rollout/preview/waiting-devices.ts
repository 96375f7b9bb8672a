import type { NoOfferReason } from "../rules/rule.ts";
import type { DeviceClass, PreviewNeeds } from "./device-class.ts";

/** Waiting devices of one type, model and version. */
export interface WaitingKind {
  readonly deviceType: string;
  readonly hardwareModel: string;
  /** As they report it; empty if they did not, or have none of what the rollout updates. */
  readonly version: string;
  readonly count: number;
}

/** What else is known of a class of waiting devices. */
interface WaitingFacts {
  readonly deviceType: string;
  readonly needs: PreviewNeeds;
  /** What holds them back. */
  readonly reason: NoOfferReason | undefined;
}

/** Counts the devices that wait for an update by what may be worth a warning. */
export class WaitingDevices {
  readonly #kinds = new Map<string, WaitingKind>();
  readonly #otherUpdates = new Map<string, number>();
  #count = 0;
  #versionUntold = 0;
  #offline = 0;
  #neverHeard = 0;
  #rare = 0;
  #chargeUnknown = 0;
  #storageUnknown = 0;

  add(count: number, row: DeviceClass, { deviceType, needs, reason }: WaitingFacts): void {
    const { hardware_model: hardwareModel, heard, open } = row;
    const version = row.version ?? "";
    const key = JSON.stringify([deviceType, hardwareModel, version]);
    const before = this.#kinds.get(key)?.count ?? 0;
    this.#kinds.set(key, { deviceType, hardwareModel, version, count: before + count });
    if (typeof open === "string") this.#otherUpdates.set(open, (this.#otherUpdates.get(open) ?? 0) + count);
    this.#count += count;
    if (reason === "VERSION_TOO_OLD") this.#versionUntold += count;
    if (heard === false) this.#offline += count;
    if (heard === null) this.#neverHeard += count;
    if (row.rare === true) this.#rare += count;
    // Of a device that was never heard of, that is what there is to say.
    if (heard === null) return;
    if (needs.battery.length > 0 && row.battery === null && row.charging !== true)
      this.#chargeUnknown += count;
    if (needs.storage.length > 0 && row.storage === null) this.#storageUnknown += count;
  }

  /** All of them. */
  get count(): number {
    return this.#count;
  }

  /** Those that are held back as too old, because they have not told their version yet. */
  get versionUntold(): number {
    return this.#versionUntold;
  }

  get offline(): number {
    return this.#offline;
  }

  get neverHeard(): number {
    return this.#neverHeard;
  }

  /** Those that are expected so rarely that they would be missing though they are well. */
  get rare(): number {
    return this.#rare;
  }

  /** Heard of, but never told their charge, nor charge now, where that counts. */
  get chargeUnknown(): number {
    return this.#chargeUnknown;
  }

  /** Heard of, but never told their free storage, where that counts. */
  get storageUnknown(): number {
    return this.#storageUnknown;
  }

  /** By type, model and version, most first. */
  get kinds(): readonly WaitingKind[] {
    return [...this.#kinds.values()].sort((a, b) => b.count - a.count);
  }

  /** By the rollout whose update they are at now, most first. */
  get otherUpdates(): readonly (readonly [rolloutId: string, count: number])[] {
    return [...this.#otherUpdates].sort(([, a], [, b]) => b - a);
  }
}
