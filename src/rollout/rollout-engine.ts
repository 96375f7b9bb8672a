import type { AuditLog } from "../access/audit-log.ts";
import type { Cause } from "../call/cause.ts";
import type { DeviceChange, DeviceChangeListener } from "../device/state/device-changes.ts";
import type { DurableHeartbeat } from "../device/state/heartbeat-record.ts";
import type { FirmwareCatalog } from "../firmware/firmware-catalog.ts";
import type { FirmwareDownloads } from "../firmware/firmware-downloads.ts";
import { Round } from "../infra/background/round.ts";
import type { BackgroundWork } from "../infra/background/work-log.ts";
import type { MachineClock } from "../infra/clock.ts";
import type { Database } from "../infra/database/database.ts";
import { asDatabaseError } from "../infra/database/errors.ts";
import type { IdempotencyKeys } from "../infra/database/idempotency-keys.ts";
import type { Logger } from "../infra/logger.ts";
import type { UpdateMetrics } from "../infra/metrics.ts";
import { ArchivedUpdates } from "./decide/archived-updates.ts";
import { DriftWatch } from "./decide/drift-watch.ts";
import { RolloutCatalog } from "./decide/rollout-catalog.ts";
import { RolloutController } from "./decide/rollout-controller.ts";
import { RolloutRecords } from "./decide/rollout-records.ts";
import { RolloutWatch } from "./decide/rollout-watch.ts";
import { SignatureWatch } from "./decide/signature-watch.ts";
import { StartForesight } from "./foresight/start-foresight.ts";
import { RolloutCohortSource } from "./health/cohort-source.ts";
import { HealthWatch } from "./health/health-watch.ts";
import type { DeviceUpdateState } from "./model/device-update.entity.ts";
import type { Foresight } from "./model/foresight.ts";
import type { OpenUpdate } from "./model/open-update.ts";
import { RolloutEvents } from "./model/rollout-events.ts";
import { RolloutTransactions } from "./model/rollout-transactions.ts";
import { cancelWords, type DirectiveSender, nobody, UpdateAnnouncer } from "./offer/directives.ts";
import { KnownFacts } from "./offer/known-facts.ts";
import { RolloutIndex } from "./offer/rollout-index.ts";
import { type DeviceSource, UpdateOffers } from "./offer/update-offers.ts";
import { RingCensus } from "./preview/ring-census.ts";
import { RolloutPreview } from "./preview/rollout-preview.ts";
import { UpdateExplainer } from "./preview/update-explainer.ts";
import type { HearingTime } from "./proof/hearing-time.ts";
import { MissingLog } from "./proof/missing-log.ts";
import { OpenUpdates } from "./proof/open-updates.ts";
import type { UpdateTracker } from "./proof/update-tracker.ts";
import { RecallCatalog } from "./recall/recall-catalog.ts";
import { RecallPreview } from "./recall/recall-preview.ts";
import { RecallWatch } from "./recall/recall-watch.ts";
import { RolloutCounts } from "./rollout-counts.ts";
import { RolloutMemory } from "./rollout-memory.ts";
import type { RolloutSettings } from "./rollout-settings.ts";

/** What a {@link RolloutEngine} is made of. */
export interface RolloutEngineParts {
  readonly database: Pick<Database, "em" | "transact" | "pool" | "listen" | "notify">;
  readonly audit: AuditLog;
  readonly idempotency: IdempotencyKeys;
  readonly firmware: Pick<FirmwareCatalog, "requireDeployable" | "assertSigned" | "assertSound">;
  readonly downloads: Pick<FirmwareDownloads, "open">;
  readonly devices: DeviceSource;
  readonly metrics: Pick<UpdateMetrics, "ended" | "automaticRollbacks">;
  /** Shows the time that all replicas share. */
  readonly clock: MachineClock;
  readonly logger: Logger;
  readonly settings: RolloutSettings;
}

/**
 * The rollouts of a replica: wires the parts together, keeps what is in memory in step with the database, and spreads
 * changes. All that is decided is in the database; an engine that starts, or one that lost its connection, reads it anew.
 */
export class RolloutEngine implements DeviceChangeListener, AsyncDisposable {
  readonly catalog: RolloutCatalog;
  readonly records: RolloutRecords;
  readonly offers: UpdateOffers;
  readonly explainer: UpdateExplainer;
  readonly preview: RolloutPreview;
  readonly foresight: Foresight;
  readonly recalls: RecallCatalog;
  readonly recallPreview: RecallPreview;
  readonly watch: RolloutWatch;
  readonly counts: RolloutCounts;
  readonly index: RolloutIndex;
  readonly tracker: UpdateTracker;
  readonly health: HealthWatch;
  /** What lasts for some time is measured by it. */
  readonly hearing: HearingTime;
  readonly #parts: RolloutEngineParts;
  readonly #updates: OpenUpdates;
  readonly #missingLog: MissingLog;
  readonly #census: RingCensus;
  readonly #drift: DriftWatch;
  /** What a tick need not wait for. */
  readonly #slowRounds: readonly Round[];
  readonly #facts: KnownFacts;
  readonly #controller: RolloutController;
  readonly #announcer: UpdateAnnouncer;
  #sender: DirectiveSender = nobody;
  readonly #memory: RolloutMemory;
  readonly #round: Round;
  #closing: Promise<void> | undefined;

  /** Reads what is open and begins to work. Throws `DATABASE_UNAVAILABLE` if it cannot. */
  static async start(parts: RolloutEngineParts): Promise<RolloutEngine> {
    let engine: RolloutEngine | undefined;
    try {
      const { database, clock, logger, settings } = parts;
      const { deadlineGraceMs: graceMs, heartbeatIntervalMs } = settings;
      const events = new RolloutEvents();
      const updates = await OpenUpdates.open({
        database,
        clock,
        logger,
        events,
        graceMs,
        heartbeatIntervalMs,
      });
      engine = new RolloutEngine(parts, updates, events);
      await engine.#memory.load();
    } catch (error) {
      await engine?.close();
      throw asDatabaseError(error) ?? error;
    }
    engine.#round.start();
    for (const round of engine.#slowRounds) round.start();
    return engine;
  }

  /** In the order in which they need each other; who acts on what comes later says so at the end, by events. */
  private constructor(parts: RolloutEngineParts, updates: OpenUpdates, events: RolloutEvents) {
    this.#parts = parts;
    this.#updates = updates;
    const { outages, hearing, writer, tracker, rechecks } = updates;
    const { database, audit, clock, logger, settings, metrics, idempotency, firmware, devices, downloads } =
      parts;
    const { heartbeatIntervalMs, tickMs = defaultTickMs } = settings;
    const { pool } = database;
    this.#round = new Round({
      name: "rollouts",
      everyMs: tickMs,
      work: () => this.#tick(),
      clock,
      logger,
    });
    const index = new RolloutIndex({
      database,
      clock,
      release: settings.release,
      heartbeatIntervalMs,
      alertDue: (rolloutId) => void events.emit("alert_due", rolloutId),
    });
    const facts = new KnownFacts(tracker, index, clock);
    const cohorts = new RolloutCohortSource({ index, tracker, facts });
    const health = new HealthWatch({
      pool,
      devices,
      cohorts,
      clock,
      logger,
      bucketMs: settings.healthBucketMs,
    });
    const changed = (rolloutId: string): Promise<void> => events.emit("changed", rolloutId);
    const transactions = new RolloutTransactions({ database, audit, hearing, changed });
    this.#missingLog = new MissingLog(transactions);
    this.#controller = new RolloutController({
      pool,
      transactions,
      clock,
      hearing,
      logger,
      health,
      startChecks: {
        firmware,
        blocked: async (firmwareId) => (await index.firmware(firmwareId))?.blocked,
      },
      dueAlert: (rollout) => index.dueAlert(rollout),
      rolledBackByRule: () => metrics.automaticRollbacks.inc(),
    });
    const catalog = new RolloutCatalog({ pool, transactions, idempotency, firmware, defaults: settings });
    const archived = new ArchivedUpdates({ pool, clock, logger });
    this.records = new RolloutRecords({ transactions, firmware, marking: () => archived.round.soon(0) });
    this.counts = new RolloutCounts(pool);
    this.watch = new RolloutWatch({ read: (id) => catalog.get(id) });
    const serving = { devices, index, tracker, rechecks, facts, writer, downloads, outages, clock };
    const offers = new UpdateOffers(serving);
    this.explainer = new UpdateExplainer({ pool, devices, index, facts, tracker });
    this.preview = new RolloutPreview({ pool, index, defaults: settings, clock, heartbeatIntervalMs });
    this.foresight = new StartForesight({ pool, index, preview: this.preview, heartbeatIntervalMs });
    this.#census = new RingCensus({
      pool,
      preview: this.preview,
      transactions,
      clock,
      logger,
      everyMs: tickMs,
    });
    this.#drift = new DriftWatch({
      pool,
      transactions,
      reported: (product) => index.reported(product),
      devices,
      clock,
      logger,
      everyMs: driftTicks * tickMs,
    });
    this.recalls = new RecallCatalog({ pool, transactions, firmware, defaults: settings });
    this.recallPreview = new RecallPreview({ pool, transactions, firmware, preview: this.preview });
    const recalled = new RecallWatch({ pool, transactions, clock, logger, everyMs: driftTicks * tickMs });
    const signed = new SignatureWatch({
      index,
      firmware,
      transactions,
      settled: () => hearing.isSettled,
      clock,
      logger,
      everyMs: tickMs,
    });
    this.#slowRounds = [this.#census.round, this.#drift.round, archived.round, recalled.round, signed.round];
    this.#announcer = new UpdateAnnouncer({
      sender: {
        updateAvailable: (deviceId, rolloutId) => this.#sender.updateAvailable(deviceId, rolloutId),
        cancelUpdate: (deviceId, updateId, reason) => this.#sender.cancelUpdate(deviceId, updateId, reason),
        connectedDevices: () => this.#sender.connectedDevices(),
      },
      waitingFor: (deviceId) => offers.makeWay(deviceId),
    });
    this.hearing = hearing;
    this.#facts = facts;
    this.index = index;
    this.tracker = tracker;
    this.health = health;
    this.catalog = catalog;
    this.offers = offers;
    events.on("alert_due", (rolloutId) => this.#controller.changed(rolloutId));
    events.on("counted", (rolloutIds) => {
      for (const rolloutId of rolloutIds) this.#changed(rolloutId);
    });
    events.on("silence", (update, missing) => this.#missingLog.note(update, missing));
    events.on("ended", (update, state, here) => this.#ended(update, state, here));
    events.on("changed", (rolloutId) => this.#memory.changed(rolloutId));
    this.#memory = new RolloutMemory({
      database,
      index,
      tracker,
      logger,
      changed: (rolloutId) => this.#changed(rolloutId),
      indexed: () => this.#announcer.announce(),
    });
  }

  /** What goes on by itself. */
  get background(): readonly BackgroundWork[] {
    return [this.#round, this.#controller.round, this.#updates.writer.round, ...this.#slowRounds];
  }

  /** Sends directives through this from now on. Until then devices learn by their own checks. */
  sendDirectivesTo(sender: DirectiveSender): void {
    this.#sender = sender;
  }

  /** Takes heartbeats that are stored durably. */
  observe(records: readonly DurableHeartbeat[]): void {
    this.tracker.observe(records);
    this.health.observe(records);
  }

  /** A device has connected: it is told if an update waits for it. */
  streamOpened({ deviceId }: { readonly deviceId: string }): void {
    this.#announcer.announceTo(deviceId);
  }

  deviceChanged({ deviceId, kind }: DeviceChange): void {
    if (kind === "token_rotation_requested") return;
    this.#facts.forget(deviceId);
    // The open update may have been ended with the change: no answer rests on it before that is known.
    const rechecked = this.#updates.rechecks.begin(deviceId);
    if (rechecked !== undefined) void this.#memory.follow(() => rechecked);
    if (kind !== "updated") return;
    if (rechecked === undefined) this.#announcer.announceTo(deviceId);
    else void rechecked.then(() => this.#announcer.announceTo(deviceId));
  }

  changesMissed(): void {
    this.#facts.forget();
  }

  /** See {@link RolloutCatalog.signingKeyRevoked}. Running or not, what rests on the key is offered no more. */
  async signingKeyRevoked(keyId: string, why: Cause): Promise<number> {
    const paused = await this.catalog.signingKeyRevoked(keyId, why);
    await this.index.reload();
    return paused;
  }

  /** Looks at deadlines, gates and what other replicas did. Happens by itself about every second. */
  tick(): Promise<void> {
    return this.#round.run();
  }

  /** Counts the devices of rings that are due. Happens by itself about every second. */
  census(): Promise<void> {
    return this.#census.round.run();
  }

  /** How many devices fell back to an older version after they succeeded, as of the last look. */
  get drifted(): number {
    return this.#drift.drifted;
  }

  /** Writes what waits and stops. May be called more than once. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<void> {
    this.#memory.stop();
    this.#announcer.close();
    for (const round of this.#slowRounds) await round.close();
    await this.#round.close();
    await this.#controller.close();
    await this.#updates.writer.close();
    await this.#memory.idle();
  }

  async #tick(): Promise<void> {
    const nowMs = this.hearing.now().getTime();
    await this.#updates.tick(() => this.#memory.poll());
    await this.#missingLog.tick(nowMs);
    await this.health.tick();
    await this.#controller.tick();
  }

  /** The state of a rollout, or how its devices fare, changed. */
  #changed(rolloutId: string): void {
    this.#controller.changed(rolloutId);
    this.watch.changed(rolloutId);
  }

  #ended(update: OpenUpdate, state: DeviceUpdateState, here: boolean): void {
    if (here) {
      this.#parts.metrics.ended.labels(state).inc();
      if (state === "SUCCEEDED") this.#drift.succeeded(update);
      // What comes next need not wait for the device to ask.
      this.#announcer.announceTo(update.deviceId);
      return;
    }
    if (state === "CANCELLED" || state === "SUPERSEDED" || state === "ROLLED_BACK") {
      this.#sender.cancelUpdate(update.deviceId, update.id, cancelWords[state]);
    }
    // It need not find out for itself what took the place of its update.
    if (state === "SUPERSEDED") this.#announcer.announceTo(update.deviceId);
  }
}

const defaultTickMs = 1_000;

/** Devices that fell back or are heard again, and what brings recalled versions, are looked for after this many ticks. */
const driftTicks = 5;
