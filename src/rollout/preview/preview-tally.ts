import { stringify } from "uuid";
import { nothingHeld } from "../../device/state/held-readings.ts";
import {
  bucketCount,
  bucketOfHash,
  deviceHashes,
  placeOfHash,
  placesPerBucket,
  ringOf,
  sampleOfHash,
} from "../model/bucket.ts";
import { isPinnedCanary } from "../model/ring-place.ts";
import { allRules } from "../rules/all-rules.ts";
import type { CompiledRollout } from "../rules/compiled-rollout.ts";
import { isOfferedUnknown } from "../rules/readiness-rules.ts";
import type { CheckedDevice, NoOfferReason, OfferFacts } from "../rules/rule.ts";
import { type DeviceClass, needsOf, type PreviewNeeds } from "./preview-sql.ts";
import type { Places } from "./ring-census.ts";
import { ringEnds } from "./ring-ends.ts";

/** How many there are of something. */
export interface NamedCount {
  readonly name: string;
  readonly count: number;
}

/** What a rollout would reach. */
export interface Preview {
  readonly targetedCount: number;
  readonly rings: readonly NamedCount[];
  /** Most first; at most 100. */
  readonly hardwareModels: readonly NamedCount[];
  /** Most first; at most 100. */
  readonly currentVersions: readonly NamedCount[];
  readonly readyCount: number;
  /** Of these, devices that never gave a reading of which the firmware asks for a minimum. */
  readonly unknownReadingsCount: number;
  readonly heldBack: readonly HeldBack[];
  readonly countedAt: Date;
}

/** Targeted devices that would not be offered the update now. */
interface HeldBack {
  readonly reason: NoOfferReason;
  /** The rule in words. */
  readonly message: string;
  readonly count: number;
  /** At most 10. */
  readonly deviceIds: readonly string[];
}

/** Adds up classes of devices, each judged once by the rules of the offer, to a {@link Preview}. */
export class PreviewTally {
  readonly #rollout: CompiledRollout;
  readonly #nowMs: number;
  readonly #needs: PreviewNeeds;
  readonly #hash: (ids: Uint8Array, at: number) => number;
  /** Rings of so many devices end within a bucket. */
  readonly #cellsPerBucket: number;
  readonly #cells: Uint32Array;
  readonly #had: Uint32Array;
  readonly #awaited: Uint32Array;
  #pinnedHad = 0;
  #pinnedAwaited = 0;
  readonly #models = new Map<string, number>();
  readonly #versions = new Map<string, number>();
  readonly #held = new Map<NoOfferReason, { message: string; count: number; deviceIds: string[] }>();
  #pinned = 0;
  #targeted = 0;
  #ready = 0;
  #unknownReadings = 0;

  constructor(rollout: CompiledRollout, nowMs: number) {
    this.#rollout = rollout;
    this.#nowMs = nowMs;
    this.#needs = needsOf(rollout);
    this.#hash = deviceHashes(rollout.id);
    this.#cellsPerBucket = rollout.rings.some((ring) => ring.deviceTarget !== undefined)
      ? placesPerBucket
      : 1;
    const cells = bucketCount * this.#cellsPerBucket;
    this.#cells = new Uint32Array(cells);
    this.#had = new Uint32Array(cells);
    this.#awaited = new Uint32Array(cells);
  }

  add(row: DeviceClass): void {
    const rollout = this.#rollout;
    const device = representative(row, rollout, this.#needs);
    const facts = factsOf(row, this.#nowMs);
    const failing = classRules.find((rule) => rule.judge(rollout, device, facts) !== undefined);
    const reason = failing?.judge(rollout, device, facts);
    if (reason === "NOT_TARGETED") return;
    const had = row.had === true;
    const awaited = !had && (reason === undefined || !neverOffered.has(reason));
    const { count, deviceIds } = this.#place(row.ids, isPinnedCanary(rollout, device), { had, awaited });
    if (count === 0) return;
    this.#targeted += count;
    addTo(this.#models, row.hardware_model, count);
    addTo(this.#versions, row.version ?? "", count);
    if (failing === undefined || reason === undefined) {
      this.#ready += count;
      if (isOfferedUnknown(rollout, device)) this.#unknownReadings += count;
      return;
    }
    const held = this.#held.get(reason) ?? {
      message: `${failing.name}: ${failing.words(rollout, device, facts, reason).required}`,
      count: 0,
      deviceIds: [],
    };
    this.#held.set(reason, held);
    held.count += count;
    held.deviceIds.push(...deviceIds.slice(0, maxDeviceIds - held.deviceIds.length));
  }

  result(): Preview {
    const counts = this.#perRing(this.#cells, this.#pinned);
    return {
      targetedCount: this.#targeted,
      rings: this.#rollout.rings.map(({ name }, at) => ({ name, count: counts[at] ?? 0 })),
      hardwareModels: mostFirst(this.#models),
      currentVersions: mostFirst(this.#versions),
      readyCount: this.#ready,
      unknownReadingsCount: this.#unknownReadings,
      heldBack: [...this.#held]
        .map(([reason, held]) => ({ reason, ...held }))
        .sort((a, b) => b.count - a.count),
      countedAt: new Date(this.#nowMs),
    };
  }

  /** How many devices each ring holds, and where the first one waits for the update. */
  places(): Places {
    const rings = this.#perRing(this.#cells, this.#pinned);
    const had = this.#perRing(this.#had, this.#pinnedHad);
    const awaited = this.#perRing(this.#awaited, this.#pinnedAwaited);
    const lowest = this.#awaited.findIndex((count) => count > 0);
    return {
      rings: rings.map((devices, at) => ({
        devices,
        eligible: (had[at] ?? 0) + (awaited[at] ?? 0),
        awaited: awaited[at] ?? 0,
      })),
      ends: this.#ends(),
      lowestAwaited: lowest < 0 ? undefined : Math.floor(lowest / this.#cellsPerBucket),
    };
  }

  #ends(): number[] {
    const waiting = {
      pinned: this.#pinnedAwaited,
      byCell: this.#awaited,
      cellsPerBucket: this.#cellsPerBucket,
    };
    return ringEnds(this.#rollout.rings, waiting);
  }

  #perRing(cells: Uint32Array, pinned: number): number[] {
    const rings = this.#ends().map((percentBasisPoints) => ({ percentBasisPoints }));
    const counts = rings.map(() => 0);
    if (counts.length > 0) counts[0] = pinned;
    for (const [cell, count] of cells.entries()) {
      if (count === 0) continue;
      const at = ringOf(cell / this.#cellsPerBucket, rings);
      if (at >= 0) counts[at] = (counts[at] ?? 0) + count;
    }
    return counts;
  }

  /** Spreads devices over the rings; how many of them are in the share, and some of those. */
  #place(
    ids: Uint8Array,
    pinned: boolean,
    { had, awaited }: { readonly had: boolean; readonly awaited: boolean },
  ): { count: number; deviceIds: string[] } {
    const { percentBasisPoints } = this.#rollout;
    const all = pinned || percentBasisPoints >= bucketCount;
    const deviceIds: string[] = [];
    let count = 0;
    for (let at = 0; at < ids.length; at += idBytes) {
      if (!pinned) {
        const hash = this.#hash(ids, at);
        if (!all && sampleOfHash(hash) >= percentBasisPoints) continue;
        const cell = this.#cellsPerBucket === 1 ? bucketOfHash(hash) : placeOfHash(hash);
        this.#cells[cell] = (this.#cells[cell] ?? 0) + 1;
        if (had) this.#had[cell] = (this.#had[cell] ?? 0) + 1;
        if (awaited) this.#awaited[cell] = (this.#awaited[cell] ?? 0) + 1;
      }
      count += 1;
      if (deviceIds.length < maxDeviceIds) deviceIds.push(stringify(ids, at));
    }
    if (pinned) {
      this.#pinned += count;
      if (had) this.#pinnedHad += count;
      if (awaited) this.#pinnedAwaited += count;
    }
    return { count, deviceIds };
  }
}

/** What does not pass while a rollout goes on: nobody waits for such a device. */
const neverOffered: ReadonlySet<NoOfferReason> = new Set([
  "UP_TO_DATE",
  "DOWNGRADE",
  "EXCLUDED",
  "ALREADY_TRIED",
  "VERSION_TOO_OLD",
  "SECURITY_COUNTER",
]);

const maxNames = 100;
const maxDeviceIds = 10;
/** Bytes of an id. */
const idBytes = 16;

/** Rules that are judged once a class. What the others of the targeting say is in the SQL; of pace nothing is known. */
const classRules = allRules.filter(
  ({ name, scope }) => scope === "device" || name === "current_version_range",
);

/** A device for which the rules of {@link classRules} judge as they do for every one of the class. */
function representative(row: DeviceClass, rollout: CompiledRollout, needs: PreviewNeeds): CheckedDevice {
  const [group] = rollout.canaryGroups ?? [];
  return {
    ...nothingHeld,
    id: stringify(row.ids, 0),
    serialNumber: "",
    deviceType: row.device_type ?? only(rollout.deviceTypes),
    hardwareModel: row.hardware_model,
    product: row.product,
    displayName: "",
    groups: row.canary === true && group !== undefined ? [group] : [],
    tags: [],
    metadata: typeof row.time_zone === "string" ? { time_zone: row.time_zone } : {},
    updatePin: row.update_pin,
    createdAtMs: 0,
    firmwareVersion: rollout.component === "" ? (row.version ?? "") : "",
    components:
      rollout.component === "" || row.version === null ? undefined : { [rollout.component]: row.version },
    lastSeenAtMs: undefined,
    batteryPercent: met(needs.battery, row.battery),
    charging: row.charging ?? undefined,
    storageFreeBytes: met(needs.storage, row.storage),
    networkType: row.network ?? undefined,
    securityCounter: Number(row.security_counter ?? 0),
    bootId: "",
    userConsent: undefined,
  };
}

/** The highest need that is met; 0 if none is. Undefined if the reading is unknown or no rule looks at it. */
function met(needs: readonly number[], count: number | null | undefined): number | undefined {
  return typeof count === "number" ? (needs[count - 1] ?? 0) : undefined;
}

/** The one that there is. */
function only(names: ReadonlySet<string>): string {
  const [name = ""] = names;
  return name;
}

function factsOf(row: DeviceClass, nowMs: number): OfferFacts {
  return {
    nowMs: () => nowMs,
    wasTried: () => row.tried === true,
    inProgress: () => 0,
    pacedUntilMs: () => 0,
    openRollout: () => row.open ?? undefined,
  };
}

function addTo(counts: Map<string, number>, name: string, count: number): void {
  counts.set(name, (counts.get(name) ?? 0) + count);
}

function mostFirst(counts: ReadonlyMap<string, number>): NamedCount[] {
  return [...counts]
    .map(([name, count]) => ({ name, count }))
    .sort((a, b) => b.count - a.count || (a.name < b.name ? -1 : 1))
    .slice(0, maxNames);
}
