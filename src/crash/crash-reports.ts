import type { AuditLog } from "../access/audit-log.ts";
import type { Clock } from "../infra/clock.ts";
import type { Database } from "../infra/database/database.ts";
import type { Logger } from "../infra/logger.ts";
import type { ObjectStore } from "../infra/objects/object-store.ts";
import { CrashLogs } from "./crash-logs.ts";
import { ErrorCollector } from "./error-collector.ts";
import { ErrorGroups } from "./error-groups.ts";

/** What {@link CrashReports} is made of. */
export interface CrashReportsParts {
  readonly database: Database;
  readonly audit: AuditLog;
  readonly store: ObjectStore;
  readonly clock: Clock;
  readonly logger: Logger;
  /** How long heartbeats are kept, in days, and with them occurrences and crash logs; 0 keeps them for ever. */
  readonly retentionDays: number;
}

/** Errors and crashes of devices: collected from their heartbeats, grouped, and with their logs. */
export class CrashReports implements AsyncDisposable {
  readonly groups: ErrorGroups;
  readonly logs: CrashLogs;
  /** Wants to be told of durable heartbeats. */
  readonly collector: ErrorCollector;
  readonly #logger: Logger;
  #timer: NodeJS.Timeout | undefined;
  #cleaning: Promise<void> | undefined;

  private constructor(parts: CrashReportsParts) {
    this.groups = new ErrorGroups(parts);
    this.logs = new CrashLogs(parts);
    this.collector = new ErrorCollector(parts);
    this.#logger = parts.logger;
  }

  /** Collects errors, and removes old crash logs every hour, until closed. */
  static start(parts: CrashReportsParts): CrashReports {
    const reports = new CrashReports(parts);
    reports.collector.start();
    reports.#clean();
    reports.#timer = setInterval(() => reports.#clean(), cleaningIntervalMs);
    reports.#timer.unref();
    return reports;
  }

  /** Ends what runs. Idempotent. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    await Promise.all([this.collector.close(), this.#cleaning]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #clean(): void {
    this.#cleaning ??= this.logs
      .removeOld()
      .then(() => undefined)
      .catch((err: unknown) =>
        this.#logger.warn({ err }, "could not remove old crash logs; the next round tries again"),
      )
      .finally(() => {
        this.#cleaning = undefined;
      });
  }
}

const cleaningIntervalMs = 3_600_000;
