import { integer, type Setting } from "./settings.ts";

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
  ingestStallSeconds: integer(
    "INGEST_STALL_SECONDS",
    5,
    [1, 3_600],
    "When heartbeats have waited for so long without one being stored, the service is not ready.",
  ),
};

/** Their values. */
type OutageValues = {
  [K in keyof typeof outageSettings]: (typeof outageSettings)[K] extends Setting<infer T> ? T : never;
};

/** The bounds as those who hold them take them, in milliseconds. */
export function outagesOf(values: OutageValues) {
  return {
    databaseWaitMs: values.databaseWaitSeconds * 1_000,
    writeProbeMs: values.writeProbeSeconds * 1_000,
    ingestStallMs: values.ingestStallSeconds * 1_000,
  };
}
