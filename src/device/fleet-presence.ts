import type { Logger } from "pino";
import type { Clock } from "../infra/clock.ts";
import type { Database } from "../infra/database/database.ts";
import { FleetCounters } from "./fleet-counters.ts";
import { FleetWatch } from "./fleet-watch.ts";
import { HeartbeatRate } from "./heartbeat-rate.ts";
import { PresenceLog } from "./presence-log.ts";
import { PresenceTracker } from "./presence-tracker.ts";
import { StatusOverview, type StatusOverviewParts } from "./status-overview.ts";

/** What {@link FleetPresence} is made of. */
export interface FleetPresenceParts {
  readonly database: Pick<Database, "adminPool">;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly heartbeatIntervalMs: number;
}

/** The parts that know the fleet as a whole, wired: its counters, who comes and goes, and how many heartbeats it sends. */
export class FleetPresence implements AsyncDisposable {
  readonly counters: FleetCounters;
  readonly tracker: PresenceTracker;
  readonly rate: HeartbeatRate;
  readonly #parts: FleetPresenceParts;
  readonly #log: PresenceLog;

  constructor(parts: FleetPresenceParts) {
    this.#parts = parts;
    this.counters = new FleetCounters(parts);
    this.rate = new HeartbeatRate(parts.clock);
    this.#log = new PresenceLog(parts.database.adminPool);
    this.tracker = new PresenceTracker({ ...parts, log: this.#log });
  }

  /** Begins the work that goes on by itself. */
  async start(): Promise<void> {
    this.counters.start();
    await this.tracker.start();
  }

  /** The fleet at a glance, and the watch over it. */
  view(parts: Pick<StatusOverviewParts, "streams" | "updates">): {
    readonly overview: StatusOverview;
    readonly watch: FleetWatch;
  } {
    const { clock, logger } = this.#parts;
    const overview = new StatusOverview({ ...parts, counters: this.counters, rate: this.rate, clock });
    return { overview, watch: new FleetWatch({ overview, log: this.#log, logger }) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.tracker.close();
    await this.counters.close();
  }
}
