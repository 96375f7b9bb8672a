import { type ModelNames, plainModels, readModelNames } from "../../device/filter/model-names.ts";
import { damagedWords } from "../../firmware/damaged-firmware.ts";
import type { Firmware } from "../../firmware/firmware.ts";
import { firmwareOf, withDeleted } from "../../firmware/firmware-rows.ts";
import { FirmwareUpdateEntity } from "../../firmware/firmware-update.entity.ts";
import { recalledWords } from "../../firmware/recalls.ts";
import { type ReleasePolicy, readSignatureRule, type SignatureRule } from "../../firmware/signature-rule.ts";
import type { Clock } from "../../infra/clock.ts";
import type { Database } from "../../infra/database/database.ts";
import { sql, words } from "../../infra/database/sql.ts";
import { forEverybody } from "../../infra/reader.ts";
import type { ReportedVersions } from "../../version/reported-versions.ts";
import type { Rollout } from "../model/rollout.ts";
import { readRollouts } from "../model/rollout-rows.ts";
import { ongoingStates } from "../model/rollout-state.ts";
import {
  type CompiledRollout,
  compileRollout,
  type OfferFirmware,
  withModelNames,
} from "../rules/compiled-rollout.ts";
import { type BookedFirmware, ProductBook } from "../rules/product-book.ts";
import { versionFacts } from "../rules/version-facts.ts";
import { KindAnswers } from "./kind-answers.ts";
import { inPreference } from "./preference.ts";
import { ReportedIndex, readReported } from "./reported-index.ts";
import { dueAlert } from "./unreadable-alert.ts";

/** What a {@link RolloutIndex} is made of. */
export interface RolloutIndexParts {
  readonly database: Pick<Database, "em" | "pool">;
  readonly clock: Clock;
  /** What the signatures of firmware are judged by, beside what its product asks for. */
  readonly release: ReleasePolicy;
  /** Decides who is online, for the filters of rollouts. */
  readonly heartbeatIntervalMs: number;
  /** Told of a rollout that can be read no more, or again, and does not say so yet. Must not throw. */
  readonly alertDue: (rolloutId: string) => void;
}

/**
 * The rollouts that concern update checks (from their start until they are over), compiled and by device type, in memory.
 * Read anew when a rollout changes, here or by notification, and by a poll that first asks whether anything changed.
 */
export class RolloutIndex {
  readonly #parts: RolloutIndexParts;
  #byType: ReadonlyMap<string, TypeCandidates> = new Map();
  #byId: ReadonlyMap<string, CompiledRollout> = new Map();
  #firmware: ReadonlyMap<string, OfferFirmware> = new Map();
  /** Firmware of updates whose rollout is not in the index, mostly versions to go back to. */
  readonly #others = new Map<string, OfferFirmware>();
  /** Reads of them that are under way. */
  readonly #reading = new Map<string, Promise<OfferFirmware | undefined>>();
  /** Rollouts that are noted as unreadable and can be read here, as of the first load. */
  #readableAgain: ReadonlySet<string> | undefined;
  #reported = new ReportedIndex([]);
  #models = plainModels;
  #mark = "";
  #loading: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  constructor(parts: RolloutIndexParts) {
    this.#parts = parts;
  }

  /**
   * The rollouts that may have something for a device, in the order of preference. Left out are only those that would be
   * passed over without a word for its type, model or firmware version.
   */
  candidatesFor(device: {
    readonly deviceType: string;
    readonly hardwareModel: string;
    readonly firmwareVersion: string;
  }): readonly CompiledRollout[] {
    const { deviceType, hardwareModel, firmwareVersion } = device;
    return this.#byType.get(deviceType)?.for(hardwareModel, firmwareVersion) ?? none;
  }

  /** Every rollout in the index that is for a device type, in the order of preference. */
  candidates(deviceType: string): readonly CompiledRollout[] {
    return this.#byType.get(deviceType)?.all ?? none;
  }

  /** Compiles a rollout that may not be in the index, with the firmware as it may be handed out now. */
  async compile(rollout: Rollout, brought: OfferFirmware): Promise<CompiledRollout> {
    const steps = await this.#readSteps(new Set([rollout.product]));
    return this.#compile(rollout, brought, steps, await this.#readProducts([brought]));
  }

  /** A rollout in the index. */
  get(rolloutId: string): CompiledRollout | undefined {
    return this.#byId.get(rolloutId);
  }

  /** Whether a firmware version that a device reports is a semantic version, or some firmware for its type names it. */
  explains(device: { readonly deviceType: string; readonly firmwareVersion: string }): boolean {
    return this.#reported.explains(device.deviceType, device.firmwareVersion);
  }

  /** The texts under which devices report a firmware beside its version. */
  reportedVersions(firmwareId: string): readonly string[] {
    return this.#reported.of(firmwareId);
  }

  /** What the texts that devices with a product report stand for. */
  reported(product: string): ReportedVersions {
    return this.#reported.product(product);
  }

  /** The names that hardware models have, as of the last load. */
  get models(): ModelNames {
    return this.#models;
  }

  /** The rollouts that run although the signatures of their firmware do not suffice any more. */
  unsignedRollouts(): readonly string[] {
    return [...this.#byId.values()]
      .filter(({ rollout }) => rollout.state === "RUNNING" && this.#lacksSignatures(rollout))
      .map(({ id }) => id);
  }

  /** How many rollouts are in the index. */
  get size(): number {
    return this.#byId.size;
  }

  /**
   * What the alert of a rollout has to become for what of it can or cannot be read here; undefined if it may stay. Only a
   * service that starts takes an alert away: in the middle of an upgrade those of the old version can read what those of the
   * new one cannot, and must not contradict them each second.
   */
  dueAlert(rollout: Rollout): string | undefined {
    const due = dueAlert(rollout, this.#byId.get(rollout.id));
    return due === "" && this.#readableAgain?.has(rollout.id) !== true ? undefined : due;
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
    const [row] = await this.#parts.database.pool.query<{ mark: string }>(markSql);
    // Expiry comes without a change: it is looked at whenever the minute changes.
    const minute = Math.floor(this.#parts.clock.now().getTime() / 60_000);
    const mark = `${row?.mark} ${minute}`;
    if (mark === this.#mark) return false;
    await this.reload();
    this.#mark = mark;
    return true;
  }

  #start(): Promise<void> {
    this.#loading = forEverybody(() => this.#load()).finally(() => {
      this.#loading = undefined;
    });
    return this.#loading;
  }

  async #load(): Promise<void> {
    this.#models = await readModelNames(this.#parts.database.pool);
    const rollouts = await readRollouts(this.#parts.database.pool, { states: activeStates });
    const firmware = await this.#readFirmware(new Set(rollouts.map(({ firmwareId }) => firmwareId)));
    const steps = await this.#readSteps(new Set(rollouts.map(({ product }) => product)));
    this.#reported = await readReported(this.#parts.database.pool);
    const products = await this.#readProducts(
      rollouts.flatMap(({ firmwareId }) => firmware.get(firmwareId) ?? []),
    );
    const compiled = inPreference(
      rollouts.flatMap((rollout) => {
        const brought = firmware.get(rollout.firmwareId);
        return brought === undefined ? [] : [this.#compile(rollout, brought, steps, products)];
      }),
    );
    const byType = new Map<string, CompiledRollout[]>();
    for (const rollout of compiled) {
      for (const type of rollout.deviceTypes) {
        const list = byType.get(type);
        if (list === undefined) byType.set(type, [rollout]);
        else list.push(rollout);
      }
    }
    this.#byType = new Map([...byType].map(([type, list]) => [type, new TypeCandidates(list)]));
    this.#byId = new Map(compiled.map((rollout) => [rollout.id, rollout]));
    this.#readableAgain ??= new Set(
      compiled.filter((each) => dueAlert(each.rollout, each) === "").map(({ id }) => id),
    );
    for (const { id, rollout } of compiled) {
      if (this.dueAlert(rollout) !== undefined) this.#parts.alertDue(id);
    }
    this.#firmware = firmware;
    this.#others.clear();
  }

  #lacksSignatures({ firmwareId }: Rollout): boolean {
    return this.#firmware.get(firmwareId)?.unsigned !== undefined;
  }

  #compile(
    rollout: Rollout,
    brought: OfferFirmware,
    steps: ReadonlyMap<string, readonly OfferFirmware[]>,
    products: ProductBook,
  ): CompiledRollout {
    return compileRollout(rollout, brought, {
      heartbeatIntervalMs: this.#parts.heartbeatIntervalMs,
      reported: this.#reported.product(rollout.product),
      products,
      models: this.#models,
      steps: steps.get(rollout.product)?.filter(({ firmware }) => firmware.component === rollout.component),
    });
  }

  /**
   * The mandatory steps of products. One that was deleted still stands in the way, unless its version is in the catalogue
   * again: whether devices may skip it is the operator's decision, not the deletion's.
   */
  async #readSteps(products: ReadonlySet<string>): Promise<Map<string, OfferFirmware[]>> {
    const steps = new Map<string, OfferFirmware[]>();
    if (products.size === 0) return steps;
    const rows = await this.#parts.database.pool.query<{ id: string }>(stepsSql, [[...products]]);
    for (const { firmware, blocked } of (
      await this.#readFirmware(new Set(rows.map(({ id }) => id)))
    ).values()) {
      const list = steps.get(firmware.product) ?? [];
      steps.set(firmware.product, list);
      list.push({ firmware, blocked: blocked ?? notReleased(firmware) });
    }
    return steps;
  }

  /** What tells the product of devices that this firmware is for. */
  async #readProducts(firmware: readonly OfferFirmware[]): Promise<ProductBook> {
    const types = new Set(firmware.flatMap(({ firmware: { deviceTypes } }) => deviceTypes));
    if (types.size === 0) return new ProductBook([]);
    const rows = await this.#parts.database.pool.query<BookedFirmware>(productsSql, [[...types]]);
    return new ProductBook(rows.map((each) => withModelNames(each, this.#models)));
  }

  /** However many devices ask at once, as all do after a rollback began: one read. */
  #readOther(id: string): Promise<OfferFirmware | undefined> {
    const under = this.#reading.get(id);
    if (under !== undefined) return under;
    const reading = forEverybody(() => this.#readOne(id)).finally(() => this.#reading.delete(id));
    this.#reading.set(id, reading);
    return reading;
  }

  async #readOne(id: string): Promise<OfferFirmware | undefined> {
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
    const firmware = await firmwareOf(em, rows);
    const rule = await readSignatureRule(em, this.#parts.release);
    return new Map(
      firmware.map((each) => [
        each.id,
        { firmware: withModelNames(each, this.#models), ...this.#standing(each, rule) },
      ]),
    );
  }

  #standing(firmware: Firmware, rule: SignatureRule): Omit<OfferFirmware, "firmware"> {
    const { damagedAt, expiresAt, product, signatures, version, recall } = firmware;
    const now = this.#parts.clock.now();
    const signers = signatures.map(({ keyRole: role, keyRevoked: revoked, keyExpiresAt }) => ({
      role,
      revoked,
      expiresAt: keyExpiresAt,
    }));
    const fault = rule.fault(product, signers, now);
    const unsigned = fault && `the signatures of ${version} do not suffice: ${fault}`;
    if (recall !== undefined) return { blocked: recalledWords(version, recall), unsigned };
    if (expiresAt !== undefined && expiresAt <= now)
      return { blocked: `the manifest of ${version} has expired`, unsigned };
    if (unsigned === undefined && damagedAt !== undefined)
      return { blocked: damagedWords(version), awaitsRepair: true };
    return { blocked: unsigned, unsigned };
  }
}

/** The rollouts for a device type, and those of them that a model with a version is not passed over by. */
class TypeCandidates {
  readonly all: readonly CompiledRollout[];
  /** By model and version. */
  readonly #lists = new KindAnswers<readonly CompiledRollout[]>(maxCandidateLists);

  constructor(all: readonly CompiledRollout[]) {
    this.all = all;
  }

  for(model: string, version: string): readonly CompiledRollout[] {
    const known = this.#lists.get(model, version);
    if (known !== undefined) return known;
    const list = this.all.filter((rollout) => !isOutOfQuestion(rollout, model, version));
    this.#lists.set(model, version, list);
    return list;
  }
}

/** Models times versions of a fleet: rarely more than hundreds. */
const maxCandidateLists = 1_000;

/** Whether the rules of the models, of the version range and of the version pass a device over, whatever else it is. */
function isOutOfQuestion(rollout: CompiledRollout, model: string, version: string): boolean {
  if (rollout.hardwareModels !== undefined && !rollout.hardwareModels.has(model)) return true;
  if (rollout.component !== "") return false;
  const { explained, inRange, order } = versionFacts(rollout, version);
  return (explained && !inRange) || order === 0 || (order > 0 && !rollout.rollout.policy.allowDowngrade);
}

const none: readonly CompiledRollout[] = [];

/** From the start until nothing is offered any more. */
const activeStates = ongoingStates.filter((state) => state !== "ROLLING_BACK");

/** The record in the catalogue counts for a version or, if there is none, the last one that was deleted. */
const stepsSql = sql`
  SELECT id FROM (
    SELECT DISTINCT ON (product, version) id, mandatory_step FROM firmware_updates
    WHERE product = ANY ($1::text[]) ORDER BY product, version, is_deleted, id DESC
  ) newest
  WHERE mandatory_step`;

/**
 * Of the device types among $1 that more than one product has firmware for: all of that, for also what is not released, or
 * was deleted, tells what a device runs.
 */
const productsSql = sql`
  WITH shared AS (
    SELECT t.type FROM firmware_updates f, unnest(f.device_types) AS t (type)
    WHERE f.component = '' AND f.state = 'RELEASED' AND NOT f.is_deleted AND t.type = ANY ($1::text[])
    GROUP BY t.type HAVING count(DISTINCT f.product) > 1
  )
  SELECT product, version, reported_versions AS "reportedVersions", device_types AS "deviceTypes",
    hardware_models AS "hardwareModels",
    bool_or(state = 'RELEASED' AND NOT is_deleted) AS released
  FROM firmware_updates
  WHERE component = '' AND device_types && (SELECT array_agg(type) FROM shared)
  GROUP BY 1, 2, 3, 4, 5`;

function notReleased(firmware: Firmware): string | undefined {
  if (firmware.deletedAt !== undefined) return `${firmware.version} was deleted`;
  return firmware.state === "RELEASED" ? undefined : `${firmware.version} is not released`;
}

/** Firmware kept beside that of the rollouts in the index: the versions that a fleet comes from. */
const maxOthers = 1_000;

/** Changes whenever something changes that the index rests on. Small tables: read in well under a millisecond. */
const markSql = sql`
  SELECT concat_ws(' ',
    (SELECT concat_ws(' ', count(*), sum(version), max(updated_at)) FROM rollouts
      WHERE state IN (${words(activeStates)}) AND NOT is_deleted),
    (SELECT concat_ws(' ', count(*), max(updated_at), count(damaged_at), max(damaged_at)) FROM firmware_updates),
    (SELECT concat_ws(' ', count(*), max(updated_at)) FROM recalls),
    (SELECT concat_ws(' ', count(*), max(created_at)) FROM model_aliases),
    (SELECT concat_ws(' ', count(*), max(updated_at)) FROM signature_requirements),
    (SELECT concat_ws(' ', count(revoked_at), max(revoked_at), max(updated_at)) FROM signing_keys)) AS mark`;
