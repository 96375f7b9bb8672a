import type { Logger } from "pino";
import { invalidArgument, OtaError } from "../../errors.ts";
import { Alarm } from "../../infra/alarm.ts";
import { Round } from "../../infra/background/round.ts";
import { Changes } from "../../infra/changes.ts";
import type { Clock } from "../../infra/clock.ts";
import type { LoggedChange, PresenceLog } from "./presence-log.ts";
import type { FleetStatus, StatusOverview } from "./status-overview.ts";

/** What a {@link FleetWatch} is made of. */
export interface FleetWatchParts {
  readonly overview: StatusOverview;
  readonly log: Pick<PresenceLog, "after">;
  readonly clock: Clock;
  readonly logger: Logger;
  /** How often to look; a second unless given. */
  readonly intervalMs?: number;
}

/** The fleet after a change. */
export interface FleetMoment {
  readonly status: FleetStatus;
  /** Oldest first, at most 200, the newest if there were more. */
  readonly changes: readonly LoggedChange[];
  /** Whether there were others. */
  readonly changesLost: boolean;
  /** Where to go on after a break, on whichever replica. */
  readonly resumeToken: string;
}

/** Lets callers follow the fleet. However many they are, the fleet is looked at once a second, and not at all for nobody. */
export class FleetWatch {
  /** Looks at the fleet; runs only while someone follows it. */
  readonly round: Round;
  readonly #parts: FleetWatchParts;
  readonly #intervalMs: number;
  #watchers = 0;
  /** Names the time in which someone follows; undefined while nobody does. */
  #looking: symbol | undefined;
  #status: FleetStatus | undefined;
  /** The newest changes, oldest first. */
  #ring: LoggedChange[] = [];
  /** All changes after this position are in the ring. */
  #ringFrom = 0;
  #position = 0;
  /** Rises with each change. */
  #version = 0;
  readonly #changes = new Changes();

  constructor(parts: FleetWatchParts) {
    this.#parts = parts;
    this.#intervalMs = parts.intervalMs ?? 1_000;
    const { clock, logger } = parts;
    this.round = new Round({ name: "fleet_watch", work: () => this.#lookAgain(), clock, logger });
  }

  /** How many callers follow the fleet. */
  get size(): number {
    return this.#watchers;
  }

  /**
   * The fleet now, and again after changes, at most once an interval, until the signal aborts. `resumeToken` is the one of
   * an earlier moment, or empty. `INVALID_ARGUMENT` for another text; `TOO_MANY_STREAMS` past {@link maxWatchers}.
   */
  async *watch(resumeToken: string, signal: AbortSignal): AsyncGenerator<FleetMoment> {
    const resumed = positionOf(resumeToken);
    if (this.#watchers >= maxWatchers) throw tooManyWatchers();
    this.#watchers += 1;
    try {
      const { overview, log } = this.#parts;
      const [status, page] = await Promise.all([overview.get(), log.after(resumed ?? latest, maxListed)]);
      let { position } = page;
      if (this.#looking === undefined) this.#look(position, status);
      let version = this.#version;
      yield resumed === undefined
        ? momentOf(status, [], false, position)
        : momentOf(status, page.changes, page.incomplete, position);
      while (await pause(this.#intervalMs, signal)) {
        if (this.#version === version && !(await this.#changes.next(signal))) return;
        version = this.#version;
        const current = this.#status ?? status;
        const incomplete = position < this.#ringFrom;
        const changes = this.#ring.filter((change) => change.position > position);
        position = Math.max(position, this.#position);
        yield momentOf(current, changes, incomplete, position);
        // Also of what comes in between no more than one message an interval.
        if (this.#position > position) await pause(this.#intervalMs, signal);
      }
    } finally {
      this.#watchers -= 1;
      if (this.#watchers === 0) this.#stopLooking();
    }
  }

  #look(position: number, status: FleetStatus): void {
    this.#looking = Symbol("looking");
    this.#ring = [];
    this.#ringFrom = position;
    this.#position = position;
    this.#status = status;
    this.round.soon(this.#intervalMs);
  }

  #stopLooking(): void {
    this.#looking = undefined;
  }

  /** If it cannot be looked at now, watchers wait. */
  async #lookAgain(): Promise<void> {
    const looking = this.#looking;
    if (looking === undefined) return;
    try {
      const [status, page] = await Promise.all([
        this.#parts.overview.get(),
        this.#parts.log.after(this.#position, ringSize),
      ]);
      if (this.#looking === looking) this.#take(status, page.changes, page.incomplete, page.position);
    } finally {
      if (this.#looking !== undefined) this.round.soon(this.#intervalMs);
    }
  }

  #take(status: FleetStatus, changes: readonly LoggedChange[], incomplete: boolean, position: number): void {
    const same = this.#status !== undefined && withoutTime(status) === withoutTime(this.#status);
    this.#status = status;
    if (same && changes.length === 0 && !incomplete) return;
    this.#ring = [...this.#ring, ...changes];
    if (incomplete) this.#ringFrom = (changes[0]?.position ?? position + 1) - 1;
    if (this.#ring.length > ringSize) {
      this.#ring = this.#ring.slice(-ringSize);
      this.#ringFrom = (this.#ring[0]?.position ?? position + 1) - 1;
    }
    this.#position = position;
    this.#version += 1;
    this.#changes.tell();
  }
}

/** Followers on one replica: each holds a stream, and gets a message a second at most. */
const maxWatchers = 1_000;

/** The most changes of one message. */
const maxListed = 200;

/** Changes that are kept for watchers that fall behind. */
const ringSize = 2_000;

/** A position that no log reaches: of what comes behind it there is nothing. */
const latest = Number.MAX_SAFE_INTEGER;

function momentOf(
  status: FleetStatus,
  all: readonly LoggedChange[],
  incomplete: boolean,
  position: number,
): FleetMoment {
  const changes = all.filter(({ deviceId }) => deviceId !== undefined).slice(-maxListed);
  const changesLost = incomplete || all.length > maxListed || all.some(({ lostCount }) => lostCount > 0);
  return { status, changes, changesLost, resumeToken: position.toString(36) };
}

function positionOf(token: string): number | undefined {
  if (token === "") return undefined;
  if (/^(?:0|[1-9a-z][0-9a-z]{0,9})$/.test(token)) return Number.parseInt(token, 36);
  throw invalidArgument("resume_token", "is not a token of an earlier message");
}

function withoutTime(status: FleetStatus): string {
  return JSON.stringify({ ...status, countedAt: undefined });
}

async function pause(ms: number, signal: AbortSignal): Promise<boolean> {
  await new Alarm().wait(ms, signal);
  return !signal.aborted;
}

function tooManyWatchers(): OtaError {
  return new OtaError("resource_exhausted", "TOO_MANY_STREAMS", "too many callers follow the fleet", {
    retryAfterMs: 5_000,
  });
}
