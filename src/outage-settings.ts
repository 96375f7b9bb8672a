import { decimal, flag, integer, type ValuesOf } from "./settings.ts";

/** The settings of what the service does while database or store are away, and of how it finds out. */
export const outageSettings = {
  databaseWaitSeconds: integer(
    "DATABASE_WAIT_SECONDS",
    60,
    [0, 86_400],
    "How long the start waits for a database that does not answer, or cannot be written to, before it gives up.",
  ),
  writeProbeSeconds: integer(
    "WRITE_PROBE_SECONDS",
    5,
    [1, 3_600],
    "How long readiness goes by a row and an object that it wrote as a test, before it writes them again.",
  ),
  listenCheckSeconds: integer(
    "LISTEN_CHECK_SECONDS",
    10,
    [1, 3_600],
    "How often the connection that hears of other replicas' changes makes sure that it still hears, and how long it waits for that, in seconds.",
  ),
  ingestStallSeconds: integer(
    "INGEST_STALL_SECONDS",
    5,
    [1, 3_600],
    "When heartbeats have waited for so long without one being stored, the service is not ready.",
  ),
  storeTimeoutSeconds: integer(
    "STORE_TIMEOUT_SECONDS",
    10,
    [1, 600],
    "How long an S3 store may be silent within a request before it is given up, in seconds; six times as long while it puts parts together.",
  ),
  scrubHours: decimal(
    "SCRUB_HOURS",
    "24",
    [0.001, 8_760],
    "How often the stored content of each firmware is read to see whether it is damaged, in hours.",
  ),
  scrubBytesPerSecond: integer(
    "SCRUB_BYTES_PER_SECOND",
    8 * 1024 * 1024,
    [64 * 1024, 1024 ** 4],
    "The most bytes a second that are read for that, per replica.",
  ),
  orphanGraceHours: decimal(
    "ORPHAN_GRACE_HOURS",
    "168",
    [0.001, 87_600],
    "How old a content of the object store must be that nothing names any more to count as an orphan, and for how long the content of deleted firmware stays, in hours.",
  ),
  orphanDelete: flag(
    "ORPHAN_DELETE",
    false,
    "Whether orphans are removed; by default they are only counted. Never where another service uses the same bucket or folder.",
  ),
};

/** Their values. */
type OutageValues = ValuesOf<typeof outageSettings>;

/** The bounds as those who hold them take them, in milliseconds. */
export function outagesOf(values: OutageValues) {
  return {
    databaseWaitMs: values.databaseWaitSeconds * 1_000,
    writeProbeMs: values.writeProbeSeconds * 1_000,
    listenCheckMs: values.listenCheckSeconds * 1_000,
    ingestStallMs: values.ingestStallSeconds * 1_000,
    storeTimeoutMs: values.storeTimeoutSeconds * 1_000,
    scrub: { periodMs: values.scrubHours * 3_600_000, bytesPerSecond: values.scrubBytesPerSecond },
    orphans: { graceMs: values.orphanGraceHours * 3_600_000, remove: values.orphanDelete },
  };
}
