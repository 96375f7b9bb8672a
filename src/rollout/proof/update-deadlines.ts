import TinyQueue from "tinyqueue";
import type { OpenUpdate, UpdateKey } from "../model/open-update.ts";
import type { HearingTime } from "./hearing-time.ts";
import type { OutageLog } from "./outage-log.ts";

/** What {@link UpdateDeadlines} are measured by. */
export interface UpdateDeadlinesParts {
  readonly outages: Pick<OutageLog, "extended">;
  readonly hearing: Pick<HearingTime, "between">;
}

/** When an update is to be looked at. */
export interface UpdateDeadline extends UpdateKey {
  /** Milliseconds since 1970. */
  readonly atMs: number;
}

/**
 * The deadlines of open updates, the earliest first. They count no time in which the device could not be heard or could not be
 * served, and so pass later than they say.
 */
export class UpdateDeadlines {
  readonly #parts: UpdateDeadlinesParts;
  readonly #queue = new TinyQueue<UpdateDeadline>([], (a, b) => a.atMs - b.atMs);

  constructor(parts: UpdateDeadlinesParts) {
    this.#parts = parts;
  }

  /** Remembers the deadline of an update. */
  add({ deviceId, id, deadlineAtMs }: Readonly<OpenUpdate>): void {
    this.#queue.push({ deviceId, id, atMs: deadlineAtMs });
  }

  /** Takes the next one that is to be looked at now; undefined if none is. */
  take(nowMs: number): UpdateDeadline | undefined {
    const first = this.#queue.peek();
    return first !== undefined && first.atMs <= nowMs ? this.#queue.pop() : undefined;
  }

  /** Looks at one again at a later time, or after some seconds. */
  again(deadline: UpdateDeadline, nowMs: number, atMs = nowMs): void {
    this.#queue.push({ ...deadline, atMs: Math.max(atMs, nowMs + pauseMs) });
  }

  /** When the deadline of an update really passes, as far as that is known now. */
  endMs({ offeredAtMs, deadlineAtMs }: Readonly<OpenUpdate>, nowMs: number): number {
    const { outages, hearing } = this.#parts;
    const leftMs = deadlineAtMs - offeredAtMs - hearing.between(offeredAtMs, nowMs);
    return Math.max(outages.extended(offeredAtMs, deadlineAtMs, nowMs), nowMs + leftMs);
  }
}

/** When to look again at a deadline that could not pass. */
const pauseMs = 5_000;
