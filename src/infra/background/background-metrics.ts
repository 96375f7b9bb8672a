import { Counter, Gauge, type Registry } from "prom-client";
import type { WorkLog } from "./work-log.ts";

/** Shows how background work does, by its name; read when metrics are asked for. Names start with `prefix`. */
export function exposeWork(registry: Registry, prefix: string, logs: () => readonly WorkLog[]): void {
  counter("runs_total", "Runs of background work, by how they ended: ok or failed.", "outcome", (log) => ({
    ok: log.succeeded,
    failed: log.failed,
  }));
  gauge("last_run_timestamp_seconds", "When the last run began.", (log) => seconds(log.lastRun));
  gauge("last_success_timestamp_seconds", "When the last run that went well ended.", (log) =>
    seconds(log.lastSuccess),
  );
  gauge(
    "last_failure_timestamp_seconds",
    "When the last run that failed ended; its error is in the log.",
    (log) => seconds(log.lastFailure),
  );
  gauge("last_duration_seconds", "How long the last run that ended took.", ({ lastDurationMs }) =>
    lastDurationMs === undefined ? undefined : lastDurationMs / 1_000,
  );
  gauge("rows_waiting", "Rows that wait to be written.", ({ rows }) => rows?.waiting);
  counter(
    "rows_total",
    "Rows by what became of them: written; refused, which the database can never store; lost, for which there was no room or no database.",
    "outcome",
    ({ rows }) =>
      rows === undefined ? {} : { written: rows.written, refused: rows.refused, lost: rows.lost },
  );

  function gauge(name: string, help: string, read: (log: WorkLog) => number | undefined): void {
    new Gauge({
      name: `${prefix}background_${name}`,
      help,
      labelNames: ["work"],
      registers: [registry],
      collect() {
        for (const log of logs()) {
          const value = read(log);
          if (value !== undefined) this.set({ work: log.name }, value);
        }
      },
    });
  }

  function counter(
    name: string,
    help: string,
    label: string,
    read: (log: WorkLog) => Readonly<Record<string, number>>,
  ): void {
    new Counter({
      name: `${prefix}background_${name}`,
      help,
      labelNames: ["work", label],
      registers: [registry],
      collect() {
        this.reset();
        for (const log of logs()) {
          for (const [value, count] of Object.entries(read(log)))
            this.inc({ work: log.name, [label]: value }, count);
        }
      },
    });
  }
}

function seconds(time: Date | undefined): number | undefined {
  return time === undefined ? undefined : time.getTime() / 1_000;
}
