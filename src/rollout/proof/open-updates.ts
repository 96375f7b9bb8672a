import type { MachineClock } from "../../infra/clock.ts";
import type { Database } from "../../infra/database/database.ts";
import type { Logger } from "../../infra/logger.ts";
import type { RolloutEvents } from "../model/rollout-events.ts";
import { ClockStepLog, readClockSteps } from "./clock-step-log.ts";
import type { ClockStep } from "./hearing-span.ts";
import { type HeardBefore, HearingTime } from "./hearing-time.ts";
import { OutageLog } from "./outage-log.ts";
import { readLastHeard, SilenceWatch } from "./silence-watch.ts";
import { TransitionWriter } from "./transition-writer.ts";
import { UpdateRechecks } from "./update-rechecks.ts";
import { UpdateTracker } from "./update-tracker.ts";

/** What {@link OpenUpdates} are made of. */
export interface OpenUpdatesParts {
  readonly database: Pick<Database, "pool">;
  /** Shows the time that all replicas share. */
  readonly clock: MachineClock;
  readonly logger: Logger;
  /** Told what becomes of updates. */
  readonly events: RolloutEvents;
  /** How long after an outage devices have to be heard from. */
  readonly graceMs: number;
  /** How often devices with no interval of their own are expected. */
  readonly heartbeatIntervalMs: number;
}

/**
 * The open updates of a replica, with all that judges and writes how they go: which time counts, whose outage it was, who is
 * silent. Wires these together and looks at them in their order.
 */
export class OpenUpdates {
  readonly outages: OutageLog;
  /** What lasts for some time is measured by it. */
  readonly hearing: HearingTime;
  readonly writer: TransitionWriter;
  readonly tracker: UpdateTracker;
  readonly rechecks: UpdateRechecks;
  readonly #clockSteps: ClockStepLog;
  readonly #silence: SilenceWatch;

  /** Reads what was heard, and how the clock was set, before this replica began. Knows no update yet. */
  static async open(parts: OpenUpdatesParts): Promise<OpenUpdates> {
    const { pool } = parts.database;
    const lastHeard = await readLastHeard(pool, parts.clock.now());
    return new OpenUpdates(parts, { lastHeard, steps: await readClockSteps(pool) });
  }

  private constructor(parts: OpenUpdatesParts, before: HeardBefore) {
    const { database, clock, logger, events, graceMs, heartbeatIntervalMs } = parts;
    const { pool } = database;
    const outages = new OutageLog(graceMs, clock.now().getTime());
    const clockSteps = new ClockStepLog(pool);
    const stepped = (step: ClockStep): void => clockSteps.note(step);
    const hearing = new HearingTime({ clock, graceMs, outages, before, stepped });
    const nowMs = (): number => hearing.now().getTime();
    this.writer = new TransitionWriter({
      pool,
      clock,
      logger,
      committed: (rolloutIds) => void events.emit("counted", rolloutIds),
      database: {
        failed: () => outages.failed("database", nowMs()),
        worked: () => {
          outages.worked("database", nowMs());
          hearing.look();
        },
      },
    });
    const tracker = new UpdateTracker({
      pool,
      writer: this.writer,
      outages,
      hearing,
      silence: (update, missing) => void events.emit("silence", update, missing),
      logger,
      ended: (update, state, here) => void events.emit("ended", update, state, here),
    });
    this.rechecks = new UpdateRechecks(tracker, logger);
    this.#silence = new SilenceWatch({
      pool,
      updates: tracker,
      hearing,
      outages,
      graceMs,
      heartbeatIntervalMs,
    });
    this.#clockSteps = clockSteps;
    this.outages = outages;
    this.hearing = hearing;
    this.tracker = tracker;
  }

  /**
   * Reads what others did, by `poll`, and looks at clock, deadlines and silence. Called about every second. While `poll` fails the
   * database is away: nothing is judged, and no time counts.
   */
  async tick(poll: () => Promise<void>): Promise<void> {
    const nowMs = this.hearing.now().getTime();
    try {
      await poll();
      this.outages.worked("database", nowMs);
    } catch (error) {
      this.outages.failed("database", nowMs);
      throw error;
    }
    this.hearing.look();
    await this.#clockSteps.tick();
    this.tracker.tick();
    await this.#silence.tick();
  }
}
