import type { AuditLog } from "../access/audit-log.ts";
import type { Background } from "../infra/background/background.ts";
import type { Round } from "../infra/background/round.ts";
import type { Clock } from "../infra/clock.ts";
import type { Database } from "../infra/database/database.ts";
import type { Logger } from "../infra/logger.ts";
import type { ObjectStore } from "../infra/objects/object-store.ts";
import { type CrashLogQuota, CrashLogs } from "./crash-logs.ts";
import { ErrorCollector } from "./error-collector.ts";
import { ErrorGroups } from "./error-groups.ts";
import { GroupMerges } from "./group-merges.ts";
import { GroupingRules } from "./grouping-rules.ts";
import { RuleTrials } from "./rule-trials.ts";
import { SourceLineFinder } from "./symbols/source-lines.ts";
import { SymbolFiles } from "./symbols/symbol-files.ts";
import { SymbolTables } from "./symbols/symbol-names.ts";

/** What {@link CrashReports} is made of. */
export interface CrashReportsParts {
  readonly database: Database;
  readonly audit: AuditLog;
  readonly store: ObjectStore;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly background: Background;
  /** How long heartbeats are kept, in days, and with them occurrences and crash logs; 0 keeps them for ever. */
  readonly retentionDays: number;
  /** Of each device; undefined: no limit. */
  readonly logQuota: CrashLogQuota | undefined;
}

/** Errors and crashes of devices: collected from their heartbeats, grouped, and with their logs. */
export class CrashReports implements AsyncDisposable {
  readonly groups: ErrorGroups;
  readonly merges: GroupMerges;
  readonly rules: GroupingRules;
  readonly trials: RuleTrials;
  readonly symbols: SymbolFiles;
  readonly sourceLines: SourceLineFinder;
  readonly logs: CrashLogs;
  /** Wants to be told of durable heartbeats. */
  readonly collector: ErrorCollector;
  readonly #cleaning: Round;

  private constructor(parts: CrashReportsParts) {
    this.groups = new ErrorGroups(parts);
    this.merges = new GroupMerges(parts);
    this.rules = new GroupingRules(parts);
    const tables = new SymbolTables(parts);
    this.trials = new RuleTrials({ pool: parts.database.pool, rules: this.rules, tables });
    this.symbols = new SymbolFiles(parts);
    this.sourceLines = new SourceLineFinder({ pool: parts.database.pool, store: parts.store });
    this.logs = new CrashLogs(parts);
    this.collector = new ErrorCollector({ ...parts, symbols: tables });
    this.collector.start(parts.background);
    this.#cleaning = parts.background.round({
      name: "crash_logs",
      everyMs: cleaningIntervalMs,
      atOnce: true,
      work: async () => {
        await this.logs.removeOld();
      },
    });
  }

  /** Collects errors, and removes old crash logs every hour, until closed. */
  static start(parts: CrashReportsParts): CrashReports {
    return new CrashReports(parts);
  }

  /** Ends what runs. Idempotent. */
  async close(): Promise<void> {
    await Promise.all([this.collector.close(), this.#cleaning.close()]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

const cleaningIntervalMs = 3_600_000;
