import type { Firmware } from "../firmware/firmware.ts";
import { withDeleted, withSignatures } from "../firmware/firmware-rows.ts";
import { FirmwareUpdateEntity } from "../firmware/firmware-update.entity.ts";
import type { Clock } from "../infra/clock.ts";
import type { Database } from "../infra/database/database.ts";
import { byPreference, type CompiledRollout, compileRollout } from "./compiled-rollout.ts";
import { poolQuery, readRollouts } from "./rollout-rows.ts";

/** What a {@link RolloutIndex} is made of. */
export interface RolloutIndexParts {
  readonly database: Pick<Database, "em" | "adminPool">;
  readonly clock: Clock;
  /** How many signatures by keys in good standing a signed firmware needs, at least 1. */
  readonly requiredSignatures: number;
}

/** A firmware as it may be handed to devices. */
export interface OfferFirmware {
  readonly firmware: Firmware;
  /** Why it must not be handed out now, in words. */
  readonly blocked: string | undefined;
}

/**
 * The rollouts that concern update checks (running, paused and completed ones), compiled and by device type, in memory.
 * Read anew when a rollout changes, here or by notification, and by a poll that first asks whether anything changed.
 */
export class RolloutIndex {
  readonly #parts: RolloutIndexParts;
  #byType: ReadonlyMap<string, readonly CompiledRollout[]> = new Map();
  #byId: ReadonlyMap<string, CompiledRollout> = new Map();
  #firmware: ReadonlyMap<string, OfferFirmware> = new Map();
  /** Firmware of updates whose rollout is not in the index, mostly versions to go back to. */
  readonly #others = new Map<string, OfferFirmware>();
  #mark = "";
  #loading: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  constructor(parts: RolloutIndexParts) {
    this.#parts = parts;
  }

  /** The rollouts that may have something for a device type, in the order of preference. */
  candidates(deviceType: string): readonly CompiledRollout[] {
    return this.#byType.get(deviceType) ?? none;
  }

  /** A rollout in the index. */
  get(rolloutId: string): CompiledRollout | undefined {
    return this.#byId.get(rolloutId);
  }

  /** How many rollouts are in the index. */
  get size(): number {
    return this.#byId.size;
  }

  /** A firmware, at once if it is known. Undefined if there is none. */
  firmware(id: string): OfferFirmware | undefined | Promise<OfferFirmware | undefined> {
    return this.#firmware.get(id) ?? this.#others.get(id) ?? this.#readOther(id);
  }

  /** Reads everything anew. A call while a read is under way gets one that begins after it. */
  reload(): Promise<void> {
    if (this.#loading === undefined) return this.#start();
    this.#next ??= this.#loading
      .catch(() => undefined)
      .then(() => {
        this.#next = undefined;
        return this.#start();
      });
    return this.#next;
  }

  /** Reads everything anew if anything changed; returns whether it did. */
  async poll(): Promise<boolean> {
    const { rows } = await this.#parts.database.adminPool.query<{ mark: string }>(markSql);
    // Expiry comes without a change: it is looked at whenever the minute changes.
    const minute = Math.floor(this.#parts.clock.now().getTime() / 60_000);
    const mark = `${rows[0]?.mark} ${minute}`;
    if (mark === this.#mark) return false;
    await this.reload();
    this.#mark = mark;
    return true;
  }

  #start(): Promise<void> {
    this.#loading = this.#load().finally(() => {
      this.#loading = undefined;
    });
    return this.#loading;
  }

  async #load(): Promise<void> {
    const query = poolQuery(this.#parts.database.adminPool);
    const rollouts = await readRollouts(query, { states: ["RUNNING", "PAUSED", "COMPLETED"] });
    const firmware = await this.#readFirmware(new Set(rollouts.map(({ firmwareId }) => firmwareId)));
    const compiled: CompiledRollout[] = [];
    for (const rollout of rollouts) {
      const brought = firmware.get(rollout.firmwareId);
      if (brought !== undefined) compiled.push(compileRollout(rollout, brought.firmware, brought.blocked));
    }
    compiled.sort(byPreference);
    const byType = new Map<string, CompiledRollout[]>();
    for (const rollout of compiled) {
      for (const type of rollout.deviceTypes) {
        const list = byType.get(type);
        if (list === undefined) byType.set(type, [rollout]);
        else list.push(rollout);
      }
    }
    this.#byType = byType;
    this.#byId = new Map(compiled.map((rollout) => [rollout.id, rollout]));
    this.#firmware = firmware;
    this.#others.clear();
  }

  async #readOther(id: string): Promise<OfferFirmware | undefined> {
    const found = (await this.#readFirmware(new Set([id]))).get(id);
    if (found === undefined) return undefined;
    if (this.#others.size >= maxOthers) this.#others.clear();
    this.#others.set(id, found);
    return found;
  }

  async #readFirmware(ids: ReadonlySet<string>): Promise<Map<string, OfferFirmware>> {
    if (ids.size === 0) return new Map();
    const em = this.#parts.database.em();
    const rows = await em.find(
      FirmwareUpdateEntity,
      { id: { $in: [...ids] } },
      { ...withDeleted, disableIdentityMap: true },
    );
    const firmware = await withSignatures(em, rows);
    const keyIds = new Set(firmware.flatMap(({ signatures }) => signatures.map(({ keyId }) => keyId)));
    const revoked = await this.#revokedKeys([...keyIds]);
    return new Map(
      firmware.map((each) => [each.id, { firmware: each, blocked: this.#blocked(each, revoked) }]),
    );
  }

  async #revokedKeys(ids: readonly string[]): Promise<Set<string>> {
    if (ids.length === 0) return new Set();
    const { rows } = await this.#parts.database.adminPool.query<{ id: string }>(
      "SELECT id FROM signing_keys WHERE id = ANY ($1::text[]) AND revoked_at IS NOT NULL",
      [ids],
    );
    return new Set(rows.map(({ id }) => id));
  }

  #blocked(firmware: Firmware, revoked: ReadonlySet<string>): string | undefined {
    const { expiresAt, signatures, version } = firmware;
    if (expiresAt !== undefined && expiresAt <= this.#parts.clock.now())
      return `the manifest of ${version} has expired`;
    // Without any it was released as unsigned, which the operator allows.
    if (signatures.length === 0) return undefined;
    const good = signatures.filter(({ keyId }) => !revoked.has(keyId)).length;
    return good < this.#parts.requiredSignatures ? `a key that signed ${version} was revoked` : undefined;
  }
}

const none: readonly CompiledRollout[] = [];

/** Firmware kept beside that of the rollouts in the index: the versions that a fleet comes from. */
const maxOthers = 1_000;

/** Changes whenever something changes that the index rests on. Small tables: read in well under a millisecond. */
const markSql = `
  SELECT concat_ws(' ',
    (SELECT concat_ws(' ', count(*), sum(version), max(updated_at)) FROM rollouts
      WHERE state IN ('RUNNING', 'PAUSED', 'COMPLETED') AND NOT is_deleted),
    (SELECT concat_ws(' ', count(*), max(updated_at)) FROM firmware_updates),
    (SELECT concat_ws(' ', count(*), max(revoked_at)) FROM signing_keys WHERE revoked_at IS NOT NULL)) AS mark`;
