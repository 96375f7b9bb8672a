import { stringify } from "uuid";
import { bucketCount, deviceHashes, placesPerBucket, sampleOfHash } from "../model/bucket.ts";
import { isPinnedCanary } from "../model/ring-place.ts";
import type { Ring, RingCensusCounts } from "../model/rollout.ts";
import { allRules } from "../rules/all-rules.ts";
import type { CompiledRollout } from "../rules/compiled-rollout.ts";
import { isOfferedUnknown } from "../rules/readiness-rules.ts";
import type { CheckedDevice, NoOfferReason, OfferFacts, Rule } from "../rules/rule.ts";
import {
  type DeviceClass,
  factsOf,
  idBytes,
  needsOf,
  type PreviewNeeds,
  representative,
  typeOf,
} from "./device-class.ts";
import { RingCounts, type Standing } from "./ring-counts.ts";
import { WaitingDevices } from "./waiting-devices.ts";
import { type Places, widenedReach, widenedRings } from "./widened-rings.ts";

/** How many there are of something. */
export interface NamedCount {
  readonly name: string;
  readonly count: number;
}

/** What a rollout would reach. */
export interface Preview {
  /** As it was judged. */
  readonly rollout: CompiledRollout;
  readonly targetedCount: number;
  /** As once it has started: a first ring that nobody is in is widened. */
  readonly rings: readonly PreviewedRing[];
  /** Most first; at most 100. */
  readonly hardwareModels: readonly NamedCount[];
  /** Most first; at most 100. */
  readonly currentVersions: readonly NamedCount[];
  readonly readyCount: number;
  /** Of these, devices that never gave a reading of which the firmware asks for a minimum. */
  readonly unknownReadingsCount: number;
  readonly heldBack: readonly HeldBack[];
  /** Those that wait for the update, by what may be worth a warning. */
  readonly waiting: WaitingDevices;
  readonly countedAt: Date;
}

/** A ring as a preview tells it. */
interface PreviewedRing extends Pick<Ring, "name" | "percentBasisPoints" | "state" | "gate"> {
  readonly census: RingCensusCounts;
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
  readonly #rings: RingCounts;
  readonly #models = new Map<string, number>();
  readonly #versions = new Map<string, number>();
  readonly #held = new Map<NoOfferReason, { message: string; count: number; deviceIds: string[] }>();
  readonly #waiting = new WaitingDevices();
  #targeted = 0;
  #ready = 0;
  #unknownReadings = 0;

  constructor(rollout: CompiledRollout, nowMs: number) {
    this.#rollout = rollout;
    this.#nowMs = nowMs;
    this.#needs = needsOf(rollout);
    this.#hash = deviceHashes(rollout.salt);
    const isCounted = rollout.rings.some(({ deviceTarget }) => deviceTarget !== undefined);
    // Rings of so many devices end within a bucket.
    this.#rings = new RingCounts(isCounted ? placesPerBucket : 1);
  }

  add(row: DeviceClass): void {
    const rollout = this.#rollout;
    const device = representative(row, rollout, this.#needs);
    const facts = factsOf(row, this.#nowMs);
    const failing = firstFailing(rollout, device, facts);
    if (failing?.reason === "NOT_TARGETED") return;
    const standing = standingOf(row, rollout.component, failing?.reason);
    const { count, deviceIds } = this.#place(row.ids, isPinnedCanary(rollout, device), standing);
    if (count === 0) return;
    this.#targeted += count;
    addTo(this.#models, row.hardware_model, count);
    addTo(this.#versions, row.version ?? "", count);
    if (standing !== "had" && standing !== "unneeded") {
      const deviceType = typeOf(row, rollout);
      this.#waiting.add(count, row, { deviceType, needs: this.#needs, reason: failing?.reason });
    }
    if (failing === undefined) {
      this.#ready += count;
      if (isOfferedUnknown(rollout, device)) this.#unknownReadings += count;
      return;
    }
    const { rule, reason } = failing;
    const held = this.#held.get(reason) ?? {
      message: `${rule.name}: ${rule.words(rollout, device, facts, reason).required}`,
      count: 0,
      deviceIds: [],
    };
    this.#held.set(reason, held);
    held.count += count;
    held.deviceIds.push(...deviceIds.slice(0, maxDeviceIds - held.deviceIds.length));
  }

  result(): Preview {
    const sized = this.#sized();
    const places = this.#placesOf(sized);
    const reach = widenedReach(sized, places);
    const widened = reach === undefined ? sized : widenedRings(sized, reach);
    const counts = reach === undefined ? places.rings : this.#rings.of(widened);
    return {
      rollout: this.#rollout,
      targetedCount: this.#targeted,
      rings: widened.flatMap(({ name, percentBasisPoints, state, gate }, at) => {
        const census = counts[at];
        return census === undefined ? [] : [{ name, percentBasisPoints, state, gate, census }];
      }),
      hardwareModels: mostFirst(this.#models),
      currentVersions: mostFirst(this.#versions),
      readyCount: this.#ready,
      unknownReadingsCount: this.#unknownReadings,
      heldBack: [...this.#held]
        .map(([reason, held]) => ({ reason, ...held }))
        .sort((a, b) => b.count - a.count),
      waiting: this.#waiting,
      countedAt: new Date(this.#nowMs),
    };
  }

  /** How many devices each ring holds as the rings are, and where the first one waits for the update. */
  places(): Places {
    return this.#placesOf(this.#sized());
  }

  #placesOf(sized: readonly Ring[]): Places {
    return {
      rings: this.#rings.of(sized),
      ends: sized.map(({ percentBasisPoints }) => percentBasisPoints),
      lowestAwaited: this.#rings.lowestAwaited,
    };
  }

  /** The rings, those of so many devices with the ends that these give them. */
  #sized(): Ring[] {
    const { rings } = this.#rollout;
    const ends = this.#rings.ends(rings);
    return rings.map((ring, at) => ({ ...ring, percentBasisPoints: ends[at] ?? ring.percentBasisPoints }));
  }

  /** Spreads devices over the rings; how many of them are in the share, and some of those. */
  #place(ids: Uint8Array, pinned: boolean, standing: Standing): { count: number; deviceIds: string[] } {
    const { percentBasisPoints } = this.#rollout;
    const all = pinned || percentBasisPoints >= bucketCount;
    const deviceIds: string[] = [];
    let count = 0;
    for (let at = 0; at < ids.length; at += idBytes) {
      if (!pinned) {
        const hash = this.#hash(ids, at);
        if (!all && sampleOfHash(hash) >= percentBasisPoints) continue;
        this.#rings.add(standing, hash);
      }
      count += 1;
      if (deviceIds.length < maxDeviceIds) deviceIds.push(stringify(ids, at));
    }
    if (pinned) this.#rings.addPinned(standing, count);
    return { count, deviceIds };
  }
}

/** What does not pass while a rollout goes on: nobody waits for such a device. */
const neverOffered: ReadonlySet<NoOfferReason> = new Set([
  "UP_TO_DATE",
  "DOWNGRADE",
  "EXCLUDED",
  "QUARANTINED",
  "BLOCKED",
  "ALREADY_TRIED",
  "VERSION_TOO_OLD",
  "SECURITY_COUNTER",
]);

const maxNames = 100;
const maxDeviceIds = 10;

/** Rules that are judged once a class. What the others of the targeting say is in the SQL; of pace nothing is known. */
const classRules = allRules.filter(
  ({ name, scope }) => scope === "device" || name === "current_version_range",
);

function firstFailing(
  rollout: CompiledRollout,
  device: CheckedDevice,
  facts: OfferFacts,
): { readonly rule: Rule; readonly reason: NoOfferReason } | undefined {
  for (const rule of classRules) {
    const reason = rule.judge(rollout, device, facts);
    if (reason !== undefined) return { rule, reason };
  }
  return undefined;
}

function standingOf(
  { had, heard, version }: DeviceClass,
  component: string,
  reason: NoOfferReason | undefined,
): Standing {
  if (had === true) return "had";
  // A version that was not told yet counts as too old, until it is told.
  const isUntold = reason === "VERSION_TOO_OLD" && component === "" && (version ?? "") === "";
  if (reason !== undefined && neverOffered.has(reason) && !isUntold) return "unneeded";
  if (heard !== true) return "gone";
  return reason === undefined ? "reachable" : "held_back";
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
