import type { Readiness } from "../api/readiness.ts";
import { type FleetCounters, presenceCountsOf } from "../device/fleet/fleet-counters.ts";
import type { Clock } from "../infra/clock.ts";
import type { LogOutput } from "../infra/log-output.ts";
import type { Metrics } from "../infra/metrics.ts";
import type { OrphanCollector } from "../orphans/orphan-collector.ts";
import type { RolloutEngine } from "../rollout/rollout-engine.ts";

/** Whose state the metrics show. */
export interface StateSources {
  readonly devices: Pick<FleetCounters, "read">;
  readonly streams: { readonly size: number };
  readonly waiting: { readonly size: number };
  readonly rollouts: Pick<RolloutEngine, "tracker" | "drifted" | "counts">;
  readonly ingest: { readonly unstoredForMs: number };
  readonly scrub: { readonly damaged: number };
  readonly orphans: Pick<OrphanCollector, "state">;
  readonly clock: Clock;
  readonly readiness: Pick<Readiness, "report">;
  readonly connections: Readonly<Record<"grpc" | "http", { readonly openConnections: number }>>;
  /** Undefined where nobody counts lost lines. */
  readonly logOutput: Pick<LogOutput, "droppedLines"> | undefined;
}

/**
 * Shows what the service and its fleet are at in `/metrics`: read when somebody asks, so that it costs nothing where nobody does.
 * What is in the database is the same on all replicas.
 */
export function showState(metrics: Metrics, sources: StateSources): void {
  showReplica(metrics, sources);
  showRollouts(metrics, sources.rollouts);
  metrics.observeEach(
    "devices",
    "Devices in service by presence: online, late, offline or unknown; the same on all replicas.",
    ["presence"],
    async () => {
      const counts = presenceCountsOf(await sources.devices.read(sources.clock.now()));
      return presences.map((presence) => [{ presence }, counts[presence]]);
    },
  );
}

const presences = ["online", "late", "offline", "unknown"] as const;

function showReplica(
  metrics: Metrics,
  {
    streams,
    waiting,
    ingest,
    scrub,
    orphans,
    readiness,
    connections,
    logOutput,
  }: Pick<
    StateSources,
    "streams" | "waiting" | "ingest" | "scrub" | "orphans" | "readiness" | "connections" | "logOutput"
  >,
): void {
  metrics.observe(
    "heartbeat_streams",
    "Devices with a heartbeat stream open to this replica.",
    () => streams.size,
  );
  metrics.observe(
    "waiting_update_checks",
    "Update checks that wait on this replica for an offer.",
    () => waiting.size,
  );
  metrics.observe(
    "ingest_unstored_seconds",
    "For how long heartbeats have waited without one being stored; 0 while none waits.",
    () => ingest.unstoredForMs / 1_000,
  );
  metrics.observe(
    "damaged_firmware_contents",
    "Contents of the catalogue's firmware that are damaged or missing in the store.",
    () => scrub.damaged,
  );
  metrics.observe(
    "orphaned_objects",
    "Contents of the object store that nothing has named for the grace period, as of the last look.",
    () => orphans.state.orphans,
  );
  metrics.observe(
    "orphaned_object_bytes",
    "Bytes of those contents, as of the last look.",
    () => orphans.state.bytes,
  );
  metrics.observe(
    "unknown_objects",
    "Objects beside the service's own in its bucket or folder, which it leaves alone, as of the last look.",
    () => orphans.state.strangers,
  );
  metrics.observeCount(
    "orphaned_objects_removed_total",
    "Contents of the object store that this replica removed because nothing named them.",
    () => orphans.state.removed,
  );
  metrics.observeCount(
    "log_lines_dropped_total",
    "Lines of the log that were lost because its output was full, slow or gone.",
    () => logOutput?.droppedLines ?? 0,
  );
  metrics.observeEach("connections", "Connections that are open, by door.", ["door"], () =>
    Object.entries(connections).map(([door, { openConnections }]) => [{ door }, openConnections]),
  );
  metrics.observeEach(
    "ready",
    "Whether the service can do its work, by check of the readiness probe: 1 or 0.",
    ["check"],
    async () =>
      Object.entries((await readiness.report()).checks).map(([check, outcome]) => [
        { check },
        outcome === "ok" ? 1 : 0,
      ]),
  );
}

function showRollouts(metrics: Metrics, rollouts: StateSources["rollouts"]): void {
  metrics.observe("open_updates", "Device updates that are not over.", () => rollouts.tracker.size);
  metrics.observe(
    "missing_devices",
    "Devices that began to install and are not heard any more.",
    () => rollouts.tracker.missing,
  );
  metrics.observe(
    "drifted_devices",
    "Devices that fell back to an older version by themselves after their update had succeeded.",
    () => rollouts.drifted,
  );
  metrics.observeEach(
    "rollouts",
    "Rollouts that are not archived, by state; the same on all replicas.",
    ["state"],
    async () => (await rollouts.counts.rollouts()).map(({ state, count }) => [{ state }, count]),
  );
  metrics.observeEach(
    "rings",
    "Rings of the rollouts that are under way, by state; the same on all replicas.",
    ["state"],
    async () => (await rollouts.counts.rings()).map(({ state, count }) => [{ state }, count]),
  );
  metrics.observeEach(
    "rollout_alerts",
    "Rollouts that are not archived and have an alert: they need a person; the same on all replicas.",
    [],
    async () => [[{}, await rollouts.counts.alerts()]],
  );
}
