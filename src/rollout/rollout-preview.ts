import type pg from "pg";
import { parseDeviceFilter } from "../device/filter/device-filter.ts";
import { compileFilterSql } from "../device/filter/filter-sql.ts";
import { notFound, OtaError } from "../errors.ts";
import type { Clock } from "../infra/clock.ts";
import { bucketCount, bucketOfHash, deviceHashes, ringOf, sampleOfHash } from "./bucket.ts";
import type { CompiledRollout, OfferFirmware } from "./compiled-rollout.ts";
import { asRollout, type NewRollout, type RolloutDefaults } from "./new-rollout.ts";
import { type DeviceClass, needsOf, type PreviewNeeds, previewSql } from "./preview-sql.ts";
import { isPinnedCanary } from "./ring-place.ts";
import type { RolloutIndex } from "./rollout-index.ts";
import { poolQuery, readRollouts } from "./rollout-rows.ts";
import { allRules } from "./rules/all-rules.ts";
import type { CheckedDevice, NoOfferReason, OfferFacts } from "./rules/rule.ts";

/** What a {@link RolloutPreview} is made of. */
export interface RolloutPreviewParts {
  readonly pool: pg.Pool;
  readonly index: RolloutIndex;
  readonly defaults: RolloutDefaults;
  readonly clock: Clock;
  /** Decides who is online, for filters. */
  readonly heartbeatIntervalMs: number;
}

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

/** Looks ahead at what a rollout reaches, by reading the whole fleet once. Devices are judged by the rules of the offer. */
export class RolloutPreview {
  readonly #parts: RolloutPreviewParts;

  constructor(parts: RolloutPreviewParts) {
    this.#parts = parts;
  }

  /** Of a rollout that exists. `NOT_FOUND` if it does not; `DEADLINE_EXCEEDED` if the fleet is too large to be read in time. */
  async ofRollout(rolloutId: string): Promise<Preview> {
    const { index, pool } = this.#parts;
    const [rollout] = await readRollouts(poolQuery(pool), { ids: [rolloutId] });
    const firmware = rollout === undefined ? undefined : await index.firmware(rollout.firmwareId);
    if (rollout === undefined || firmware === undefined) throw notFound("rollout", rolloutId);
    return this.#count(await index.compile(rollout, firmware));
  }

  /** Of a rollout that could be created. Errors as when it is created, and as {@link ofRollout}. */
  async ofNew(wanted: NewRollout): Promise<Preview> {
    const { index, defaults, clock } = this.#parts;
    const brought: OfferFirmware | undefined = await index.firmware(wanted.firmwareId);
    if (brought === undefined || brought.firmware.deletedAt !== undefined) {
      throw notFound("firmware", wanted.firmwareId);
    }
    return this.#count(
      await index.compile(asRollout(wanted, brought.firmware, defaults, clock.now()), brought),
    );
  }

  async #count(rollout: CompiledRollout): Promise<Preview> {
    const { pool, clock, heartbeatIntervalMs } = this.#parts;
    const now = clock.now();
    const nowMs = now.getTime();
    const filter = compileFilterSql(parseDeviceFilter(rollout.rollout.targeting.filter, "targeting.filter"), {
      nowMs,
      heartbeatIntervalMs,
    });
    const tally = new Tally(rollout, nowMs);
    let after: string | null = null;
    try {
      do {
        const upTo: string | null = await this.#sliceEnd(after);
        const { text, values } = previewSql(rollout, filter, { after, upTo });
        const { rows } = await pool.query<DeviceClass>(text, [...values]);
        for (const row of rows) tally.add(row);
        after = upTo;
      } while (after !== null);
    } catch (error) {
      throw isTimeOut(error) ? tooLarge(error) : error;
    }
    return tally.result(now);
  }

  /** Where the next slice of a very large fleet ends; null if the rest is one slice. */
  async #sliceEnd(after: string | null): Promise<string | null> {
    const { pool } = this.#parts;
    if (after === null) {
      const { rows } = await pool.query<{ devices: number }>(
        "SELECT reltuples::float8 AS devices FROM pg_class WHERE oid = 'devices'::regclass",
      );
      if ((rows[0]?.devices ?? 0) < 1.5 * sliceDevices) return null;
    }
    const { rows } = await pool.query<{ id: string }>(
      `SELECT id FROM devices WHERE $1::uuid IS NULL OR id > $1::uuid ORDER BY id OFFSET ${sliceDevices} LIMIT 1`,
      [after],
    );
    return rows[0]?.id ?? null;
  }
}

/** Devices of a slice: some 36 MB of ids in memory, and a second or so of a statement. */
const sliceDevices = 1_000_000;

const maxNames = 100;
const maxDeviceIds = 10;
const uuidLength = 36;

/** Rules that are judged once a class. What the others of the targeting say is in the SQL; of pace nothing is known. */
const classRules = allRules.filter(
  ({ name, scope }) => scope === "device" || name === "current_version_range",
);

/** Adds up classes of devices. */
class Tally {
  readonly #rollout: CompiledRollout;
  readonly #nowMs: number;
  readonly #needs: PreviewNeeds;
  readonly #hash: (text: string, at: number) => number;
  readonly #buckets = new Uint32Array(bucketCount);
  readonly #models = new Map<string, number>();
  readonly #versions = new Map<string, number>();
  readonly #held = new Map<NoOfferReason, { message: string; count: number; deviceIds: string[] }>();
  #pinned = 0;
  #targeted = 0;
  #ready = 0;

  constructor(rollout: CompiledRollout, nowMs: number) {
    this.#rollout = rollout;
    this.#nowMs = nowMs;
    this.#needs = needsOf(rollout);
    this.#hash = deviceHashes(rollout.id);
  }

  add(row: DeviceClass): void {
    const rollout = this.#rollout;
    const device = representative(row, rollout, this.#needs);
    const facts = factsOf(row, this.#nowMs);
    const failing = classRules.find((rule) => rule.judge(rollout, device, facts) !== undefined);
    const reason = failing?.judge(rollout, device, facts);
    if (reason === "NOT_TARGETED") return;
    const { count, deviceIds } = this.#place(row.ids, isPinnedCanary(rollout, device));
    if (count === 0) return;
    this.#targeted += count;
    addTo(this.#models, row.hardware_model, count);
    addTo(
      this.#versions,
      (rollout.component === "" ? row.firmware_version : row.component_version) ?? "",
      count,
    );
    if (failing === undefined || reason === undefined) {
      this.#ready += count;
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

  result(countedAt: Date): Preview {
    const counts = this.#rollout.rings.map(() => 0);
    if (counts.length > 0) counts[0] = this.#pinned;
    for (const [bucket, count] of this.#buckets.entries()) {
      const at = ringOf(bucket, this.#rollout.rings);
      if (at >= 0) counts[at] = (counts[at] ?? 0) + count;
    }
    return {
      targetedCount: this.#targeted,
      rings: this.#rollout.rings.map(({ name }, at) => ({ name, count: counts[at] ?? 0 })),
      hardwareModels: mostFirst(this.#models),
      currentVersions: mostFirst(this.#versions),
      readyCount: this.#ready,
      heldBack: [...this.#held]
        .map(([reason, held]) => ({ reason, ...held }))
        .sort((a, b) => b.count - a.count),
      countedAt,
    };
  }

  /** Spreads devices over the rings; how many of them are in the share, and some of those. */
  #place(ids: string, pinned: boolean): { count: number; deviceIds: string[] } {
    const { percentBasisPoints } = this.#rollout;
    const all = pinned || percentBasisPoints >= bucketCount;
    const deviceIds: string[] = [];
    let count = 0;
    for (let at = 0; at < ids.length; at += uuidLength) {
      if (!pinned) {
        const hash = this.#hash(ids, at);
        if (!all && sampleOfHash(hash) >= percentBasisPoints) continue;
        const bucket = bucketOfHash(hash);
        this.#buckets[bucket] = (this.#buckets[bucket] ?? 0) + 1;
      }
      count += 1;
      if (deviceIds.length < maxDeviceIds) deviceIds.push(ids.slice(at, at + uuidLength));
    }
    if (pinned) this.#pinned += count;
    return { count, deviceIds };
  }
}

/** A device for which the rules of {@link classRules} judge as they do for every one of the class. */
function representative(row: DeviceClass, rollout: CompiledRollout, needs: PreviewNeeds): CheckedDevice {
  const [group] = rollout.canaryGroups ?? [];
  return {
    id: row.ids.slice(0, uuidLength),
    serialNumber: "",
    deviceType: row.device_type,
    hardwareModel: row.hardware_model,
    displayName: "",
    groups: row.canary && group !== undefined ? [group] : [],
    tags: [],
    metadata: row.time_zone === null ? {} : { time_zone: row.time_zone },
    updatePin: row.update_pin,
    createdAtMs: 0,
    firmwareVersion: row.firmware_version,
    components: row.component_version === null ? undefined : { [rollout.component]: row.component_version },
    lastSeenAtMs: undefined,
    batteryPercent: met(needs.battery, row.battery),
    charging: row.charging ?? undefined,
    cpuPercent: undefined,
    memoryPercent: undefined,
    storageFreeBytes: met(needs.storage, row.storage),
    temperatureCelsius: undefined,
    networkType: row.network_type ?? undefined,
    carrier: undefined,
    signalDbm: undefined,
    securityCounter: row.security_counter,
    bootId: "",
    userConsent: undefined,
  };
}

/** The highest need that is met; below the first, nothing is. */
function met(needs: readonly number[], bucket: number | null): number | undefined {
  return bucket === null ? undefined : (needs[bucket - 1] ?? -1);
}

function factsOf(row: DeviceClass, nowMs: number): OfferFacts {
  return {
    nowMs: () => nowMs,
    wasTried: () => row.tried,
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

/** PostgreSQL's query_canceled: the statement time-out. */
function isTimeOut(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "57014";
}

function tooLarge(cause: unknown): OtaError {
  return new OtaError(
    "deadline_exceeded",
    "DEADLINE_EXCEEDED",
    "the fleet could not be counted in time; narrow the targeting, or try again when the database is less busy",
    { cause },
  );
}
