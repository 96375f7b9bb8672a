import type { Logger } from "pino";
import type { Background } from "../../infra/background/background.ts";
import type { MachineClock } from "../../infra/clock.ts";
import type { Database } from "../../infra/database/database.ts";
import { FleetCounters } from "./fleet-counters.ts";
import { FleetWatch } from "./fleet-watch.ts";
import { HeartbeatRate } from "./heartbeat-rate.ts";
import { PresenceLog } from "./presence-log.ts";
import { PresenceTracker } from "./presence-tracker.ts";
import { StatusOverview, type StatusOverviewParts } from "./status-overview.ts";
import { VersionHistory } from "./version-history.ts";

/** What {@link FleetPresence} is made of. */
export interface FleetPresenceParts {
  readonly database: Pick<Database, "pool">;
  readonly clock: MachineClock;
  readonly logger: Logger;
  readonly heartbeatIntervalMs: number;
  /** How long the hours of the versions' history are kept; {@link defaultHistoryDays} unless given. */
  readonly versionHistoryDays?: number;
}

/** The parts that know the fleet as a whole, wired: its counters, who comes and goes, and how many heartbeats it sends. */
export class FleetPresence implements AsyncDisposable {
  readonly counters: FleetCounters;
  readonly tracker: PresenceTracker;
  readonly rate: HeartbeatRate;
  readonly versions: VersionHistory;
  readonly #parts: FleetPresenceParts;
  readonly #log: PresenceLog;

  constructor(parts: FleetPresenceParts) {
    this.#parts = parts;
    this.counters = new FleetCounters(parts);
    this.rate = new HeartbeatRate(parts.clock);
    const retentionDays = parts.versionHistoryDays ?? defaultHistoryDays;
    this.versions = new VersionHistory({ ...parts, counters: this.counters, retentionDays });
    this.#log = new PresenceLog(parts.database.pool);
    this.tracker = new PresenceTracker({ ...parts, log: this.#log });
  }

  /** Begins the work that goes on by itself. */
  async start(background: Background): Promise<void> {
    this.counters.start(background);
    this.versions.start(background);
    await this.tracker.start(background);
  }

  /** The fleet at a glance, the watch over it, and what it ran before. */
  view(parts: Pick<StatusOverviewParts, "streams" | "updates">): {
    readonly overview: StatusOverview;
    readonly watch: FleetWatch;
    readonly versions: VersionHistory;
  } {
    const { clock, logger } = this.#parts;
    const overview = new StatusOverview({ ...parts, counters: this.counters, rate: this.rate, clock });
    const watch = new FleetWatch({ overview, log: this.#log, clock, logger });
    return { overview, watch, versions: this.versions };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.tracker.close();
    await this.versions.close();
    await this.counters.close();
  }
}

/** As long as the roll-ups of 1 hour. */
const defaultHistoryDays = 400;
