import { CrashReports } from "../crash/crash-reports.ts";
import { ContentScrub } from "../firmware/content-scrub.ts";
import { DirectUrls } from "../firmware/direct-urls.ts";
import { FirmwareAttachments } from "../firmware/firmware-attachments.ts";
import { FirmwareCatalog } from "../firmware/firmware-catalog.ts";
import { FirmwareDownloads } from "../firmware/firmware-downloads.ts";
import { FirmwareUploads } from "../firmware/firmware-uploads.ts";
import { SignOff } from "../firmware/sign-off.ts";
import type { ReleasePolicy } from "../firmware/signature-rule.ts";
import { StoredContents } from "../firmware/stored-contents.ts";
import { HeartbeatFaults } from "../heartbeat/heartbeat-faults.ts";
import { HeartbeatHistory } from "../heartbeat/heartbeat-history.ts";
import { HeartbeatIngest } from "../heartbeat/heartbeat-ingest.ts";
import { HeartbeatStreams } from "../heartbeat/heartbeat-streams.ts";
import { HeartbeatPartitions } from "../heartbeat/partitions.ts";
import { OrphanCollector } from "../orphans/orphan-collector.ts";
import { type DirectiveSender, everyWay } from "../rollout/offer/directives.ts";
import { WaitingChecks } from "../rollout/offer/waiting-checks.ts";
import { RolloutEngine, type RolloutEngineParts } from "../rollout/rollout-engine.ts";
import { RolloutFirmwareUse } from "../rollout/rollout-observers.ts";
import { Telemetry } from "../telemetry/telemetry.ts";
import type { Access } from "./access.ts";
import type { Devices } from "./devices.ts";
import type { Foundation } from "./foundation.ts";

/** Firmware, rollouts and heartbeats, which prove the one on the way of the other. */
export type Updates = Awaited<ReturnType<typeof openUpdates>>;

/** Opens the catalogue of firmware and its content. */
export function openFirmware(
  { config, database, idempotency, store, clock }: FirmwareNeeds,
  { audit, signingKeys }: Pick<Access, "audit" | "signingKeys">,
) {
  const signOff = new SignOff(signingKeys, releasePolicyOf(config), clock);
  const inUse = new RolloutFirmwareUse();
  const contents = new StoredContents(store, clock);
  const firmware = new FirmwareCatalog({ database, idempotency, audit, contents, signOff, inUse, clock });
  return { firmware, signOff, contents, downloads: new FirmwareDownloads(contents) };
}

function releasePolicyOf({
  requireSignature,
  signatureThreshold,
  acceptTestKeys,
}: ReleasePolicy): ReleasePolicy {
  return { requireSignature, signatureThreshold, acceptTestKeys };
}

type FirmwareNeeds = Pick<Foundation, "database" | "idempotency" | "store" | "clock"> & {
  readonly config: ReleasePolicy;
};

/** Opens firmware, rollouts, heartbeats and what is read from them. */
export async function openUpdates(
  { config, logger, clock, metrics, background, database, store, idempotency }: Foundation,
  { audit, signingKeys }: Access,
  { changes, faults: faultLog, fleet, directory, heartbeatIntervalMs }: Devices,
  opened: AsyncDisposableStack,
) {
  const { firmware, signOff, contents, downloads } = openFirmware(
    { config, database, idempotency, store, clock },
    { audit, signingKeys },
  );
  const directUrls = new DirectUrls(store, config.downloadUrlSeconds);
  const maxBytes = config.maxAttachmentBytes;
  const attachments = new FirmwareAttachments({ database, audit, store, signOff, maxBytes });
  const uploads = opened.adopt(new FirmwareUploads({ catalog: firmware, store, contents }), (it) =>
    it.close(),
  );
  const scrub = new ContentScrub({
    pool: database.pool,
    contents,
    clock,
    logger,
    ...config.outages.scrub,
  });
  for (const round of scrub.rounds) {
    background.add(round);
    round.start();
  }

  const orphans = new OrphanCollector({
    pool: database.pool,
    store,
    clock,
    logger,
    ...config.outages.orphans,
  });
  background.add(orphans.round);
  orphans.round.start();

  // Rollouts and heartbeats: the first reach devices through the streams of the second, which bring them the proof, and through
  // update checks that wait.
  const streams = new HeartbeatStreams({ maxStreams: config.places.heartbeats.most });
  const waiting = new WaitingChecks();
  const rollouts = opened.use(
    await openRollouts(
      { config, database, idempotency, clock, logger, metrics: metrics.updates },
      { audit, firmware, downloads, devices: directory, changes, directives: everyWay(streams, waiting) },
    ),
  );
  for (const work of rollouts.background) background.add(work);
  const partitions = opened.use(
    new HeartbeatPartitions({
      pool: database.pool,
      clock,
      logger,
      retentionDays: config.heartbeat.retentionDays,
    }),
  );
  await partitions.start(background);
  const { retentionDays } = config.heartbeat;
  const crashes = opened.use(
    CrashReports.start({
      database,
      audit,
      store,
      clock,
      logger,
      background,
      retentionDays,
      logQuota: config.crashLogs,
    }),
  );
  const history = new HeartbeatHistory(database.pool, clock);
  const telemetry = opened.use(
    await Telemetry.start({
      pool: database.pool,
      heavyReads: database.heavyReads,
      raw: partitions,
      clock,
      logger,
      background,
      metricOverflow: metrics.ingest.metricsUnlisted,
      heartbeatIntervalMs,
      retention: config.heartbeat,
    }),
  );
  const faults = new HeartbeatFaults({ metrics: metrics.ingest, log: faultLog, clock });
  const ingest = opened.use(
    new HeartbeatIngest({
      pool: database.ingestPool,
      partitions,
      observers: [directory, fleet.rate, rollouts, crashes.collector, telemetry],
      metrics: metrics.ingest,
      faults,
      clock,
      logger,
      limits: {
        maxRows: config.heartbeat.queueRows,
        maxBytes: config.heartbeat.queueBytes,
        flushRows: config.heartbeat.flushRows,
        lingerMs: config.heartbeat.flushMs,
      },
    }),
  );
  return {
    firmware,
    directUrls,
    attachments,
    uploads,
    scrub,
    orphans,
    streams,
    waiting,
    rollouts,
    crashes,
    history,
    telemetry,
    ingest,
    faults,
  };
}

/** Starts the rollouts' engine, which hears of changed devices and reaches devices by the directives. */
export async function openRollouts(
  { config, database, idempotency, clock, logger, metrics, tickMs }: RolloutNeeds,
  { audit, firmware, downloads, devices, changes, directives }: RolloutNeighbours,
): Promise<RolloutEngine> {
  const heartbeatIntervalMs = config.heartbeat.intervalSeconds * 1_000;
  const engine = await RolloutEngine.start({
    database,
    audit,
    idempotency,
    firmware,
    downloads,
    devices,
    clock,
    logger,
    metrics,
    settings: {
      release: releasePolicyOf(config),
      failureThresholdPercent: config.rollback.failureThresholdPercent,
      deviceTimeoutMs: config.rollback.timeoutHours * 3_600_000,
      deadlineGraceMs: graceIntervals * heartbeatIntervalMs,
      heartbeatIntervalMs,
      healthBucketMs: healthBucketIntervals * heartbeatIntervalMs,
      ...(tickMs === undefined ? {} : { tickMs }),
    },
  });
  engine.sendDirectivesTo(directives);
  changes.subscribe(engine);
  return engine;
}

interface RolloutNeeds extends Pick<Foundation, "database" | "idempotency" | "clock" | "logger"> {
  readonly config: ReleasePolicy &
    Pick<Foundation["config"], "rollback"> & {
      readonly heartbeat: Pick<Foundation["config"]["heartbeat"], "intervalSeconds">;
    };
  readonly metrics: RolloutEngineParts["metrics"];
  /** How often gates, deadlines and other replicas are looked at; the engine's own default unless given. */
  readonly tickMs?: number;
}

interface RolloutNeighbours extends Pick<RolloutEngineParts, "audit" | "firmware" | "downloads" | "devices"> {
  readonly changes: Pick<Devices["changes"], "subscribe">;
  readonly directives: DirectiveSender;
}

/** After a start or an outage devices have this many heartbeat intervals to be heard from before a deadline passes. */
const graceIntervals = 3;

/** Silence and readings of updated devices are judged after this many heartbeat intervals. */
const healthBucketIntervals = 30;
