import { OtaError } from "../../errors.ts";
import { Round } from "../../infra/background/round.ts";
import type { Clock } from "../../infra/clock.ts";
import type { Logger } from "../../infra/logger.ts";
import { type Caller, callerOf } from "./caller.ts";

/** What answers that nobody has read yet may hold. */
export interface UnreadAnswerLimits {
  /** Bytes of one device, token or (without either) address. */
  readonly bytesPerCaller: number;
  /** The same of all callers. */
  readonly bytes: number;
  /** How long one may stand unread, in milliseconds. */
  readonly timeoutMs: number;
}

/** What {@link UnreadAnswers} are made of. */
export interface UnreadAnswersParts {
  readonly limits: UnreadAnswerLimits;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** An answer of which its door knows whether it was taken. */
export interface HandedAnswer {
  readonly bytes: number;
  /** Whether it was taken, or its reader has gone. */
  readonly isOver: boolean;
  /** Calls back once it is over, which it is not yet. */
  onOver(listener: () => void): void;
  /** Cuts it off. */
  cut(): void;
}

/**
 * The answers, or pieces of them, that were handed to a connection whose other end has not taken them. They stand in
 * memory for as long as their reader likes: so what all of them hold is bounded, what those of one caller hold is bounded,
 * and one that is not taken in time is given up.
 */
export class UnreadAnswers {
  /** Gives up what stands for too long; runs only while something does. */
  readonly round: Round;
  readonly #limits: UnreadAnswerLimits;
  readonly #clock: Clock;
  readonly #logger: Logger;
  /** In the order of their beginnings. */
  readonly #open = new Set<UnreadAnswer>();
  readonly #bytesByCaller = new Map<string, number>();
  #bytes = 0;
  /** Small ones that were handed over lately, counted by nobody yet. */
  #recent: { readonly caller: Caller; readonly answer: HandedAnswer }[] = [];

  constructor({ limits, clock, logger }: UnreadAnswersParts) {
    this.#limits = limits;
    this.#clock = clock;
    this.#logger = logger;
    this.round = new Round({ name: "unread_answers", work: () => this.#giveUpLate(), clock, logger });
  }

  /** How many answers stand unread. */
  get size(): number {
    return this.#open.size;
  }

  /** How many bytes they hold. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * An answer of `bytes` is handed to its connection; whoever begins must {@link UnreadAnswer.end}. `giveUp` cuts it off.
   * Throws RESOURCE_EXHAUSTED where there is no room for it.
   */
  begin(caller: Caller, bytes: number, giveUp: () => void): UnreadAnswer {
    const key = callerOf(caller);
    this.#requireRoom(key, bytes);
    return this.#stand(key, bytes, giveUp);
  }

  /**
   * An answer is handed to its connection. Nearly every small one is taken at once, and to watch each costs an update check a
   * fifth of its time: so those are counted only where they still stand when some dozens more were handed over, or at the next
   * look. Throws RESOURCE_EXHAUSTED where there is no room for it.
   */
  hand(caller: Caller, answer: HandedAnswer): void {
    this.requireRoom(caller, answer.bytes);
    if (answer.bytes > smallBytes) return this.#watch(caller, answer);
    this.#recent.push({ caller, answer });
    if (this.#recent.length === mostRecent) this.#watchRecent();
    else if (this.#recent.length === 1) this.round.soon(lookEveryMs);
  }

  #watchRecent(): void {
    const recent = this.#recent;
    this.#recent = [];
    for (const { caller, answer } of recent) if (!answer.isOver) this.#watch(caller, answer);
  }

  #watch(caller: Caller, answer: HandedAnswer): void {
    const standing = this.#stand(callerOf(caller), answer.bytes, () => answer.cut());
    answer.onOver(() => standing.end());
  }

  #stand(key: string, bytes: number, giveUp: () => void): UnreadAnswer {
    if (bytes > 0) {
      this.#bytes += bytes;
      this.#bytesByCaller.set(key, (this.#bytesByCaller.get(key) ?? 0) + bytes);
    }
    const answer = new UnreadAnswer(this, { key, bytes, sinceMs: this.#clock.monotonicMs(), giveUp });
    this.#open.add(answer);
    if (this.#open.size === 1) this.round.soon(lookEveryMs);
    return answer;
  }

  /** Throws RESOURCE_EXHAUSTED where there is no room for an answer of `bytes`. */
  requireRoom(caller: Caller, bytes: number): void {
    this.#requireRoom(callerOf(caller), bytes);
  }

  /** For {@link UnreadAnswer}: forgets it. */
  release(answer: UnreadAnswer, key: string, bytes: number): void {
    this.#open.delete(answer);
    if (bytes === 0) return;
    this.#bytes -= bytes;
    const ofCaller = (this.#bytesByCaller.get(key) ?? 0) - bytes;
    if (ofCaller > 0) this.#bytesByCaller.set(key, ofCaller);
    else this.#bytesByCaller.delete(key);
  }

  #requireRoom(key: string, bytes: number): void {
    const ofCaller = (this.#bytesByCaller.get(key) ?? 0) + bytes;
    if (ofCaller > this.#limits.bytesPerCaller) throw tooMuch("this caller", this.#limits.bytesPerCaller);
    if (this.#bytes + bytes > this.#limits.bytes) throw tooMuch("all callers", this.#limits.bytes);
  }

  #giveUpLate(): void {
    this.#watchRecent();
    const beganBeforeMs = this.#clock.monotonicMs() - this.#limits.timeoutMs;
    let givenUp = 0;
    for (const answer of this.#open) {
      if (answer.sinceMs > beganBeforeMs) break;
      answer.giveUp();
      givenUp++;
    }
    if (givenUp > 0) this.#logger.info({ answers: givenUp }, "answers that stood unread were given up");
    if (this.#open.size > 0) this.round.soon(lookEveryMs);
  }
}

/** One answer that stands unread. */
export class UnreadAnswer {
  /** By the monotonic clock, in milliseconds. */
  readonly sinceMs: number;
  readonly #answers: UnreadAnswers;
  readonly #key: string;
  readonly #bytes: number;
  readonly #giveUp: () => void;
  #ended = false;

  constructor(answers: UnreadAnswers, of: Standing) {
    this.#answers = answers;
    this.sinceMs = of.sinceMs;
    this.#key = of.key;
    this.#bytes = of.bytes;
    this.#giveUp = of.giveUp;
  }

  /** Ends it, and cuts it off. */
  giveUp(): void {
    this.end();
    this.#giveUp();
  }

  /** It was taken, or its reader has gone. Idempotent. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#answers.release(this, this.#key, this.#bytes);
  }
}

interface Standing {
  /** Whose share it counts for. */
  readonly key: string;
  readonly bytes: number;
  readonly sinceMs: number;
  readonly giveUp: () => void;
}

const lookEveryMs = 1_000;

/** So that those that nobody watches hold at most a megabyte. */
const smallBytes = 16 * 1024;
const mostRecent = 64;

function tooMuch(whose: string, limit: number): OtaError {
  return new OtaError(
    "resource_exhausted",
    "QUEUE_FULL",
    `the answers that ${whose} left unread hold ${limit} bytes; read them before asking again`,
    { metadata: { limit: String(limit) }, retryAfterMs: 1_000 },
  );
}
