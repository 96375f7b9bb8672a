import { readdir, readFile } from "node:fs/promises";
import { Round } from "./background/round.ts";
import type { Clock } from "./clock.ts";
import type { Logger } from "./logger.ts";

/** What {@link Descriptors} are made of. */
export interface DescriptorsParts {
  /** Above which share of the limit little is left, in percent. */
  readonly percent: number;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Where the system tells of this process; Linux's folder unless given. */
  readonly folder?: string;
}

/** What of the descriptors connections may take. */
export interface DescriptorShare {
  /** Takes one for a new connection; false if there is none for it. */
  take(): boolean;
  /** The connection is closed. */
  giveBack(): void;
}

/**
 * How many files and connections the process has open, of those that it may have (`ulimit -n`). Without a descriptor nothing goes
 * on: no database that comes back, no upload, no name that is looked up. So ports take no more connections before it comes to
 * that. They are counted now and then, and in between by what ports take and give back. Where the system does not tell
 * (it is not Linux) there is always room.
 */
export class Descriptors {
  readonly round: Round;
  readonly #parts: DescriptorsParts;
  #limit = Number.POSITIVE_INFINITY;
  #used = 0;
  #scarce = false;

  constructor(parts: DescriptorsParts) {
    this.#parts = parts;
    const { clock, logger } = parts;
    this.round = new Round({
      name: "descriptors",
      everyMs: countEveryMs,
      atOnce: true,
      work: () => this.#count(),
      clock,
      logger,
    });
  }

  /** What is wrong, in words; undefined if there are enough. */
  get scarcity(): string | undefined {
    if (!this.#scarce) return undefined;
    return `${this.#used} of the ${this.#limit} files and connections that the process may have open are in use: ports refuse new connections`;
  }

  /**
   * For the connections of a port: `most` of them unless little is left of all, `last` in the first half of what is left then, so that
   * probes and operators still come in.
   */
  share(whose: "most" | "last"): DescriptorShare {
    const { percent } = this.#parts;
    const part = (whose === "most" ? percent : (100 + percent) / 2) / 100;
    return {
      take: () => {
        if (this.#used >= this.#limit * part) {
          this.#tell();
          return false;
        }
        this.#used++;
        return true;
      },
      giveBack: () => {
        this.#used--;
      },
    };
  }

  async #count(): Promise<void> {
    const { folder = "/proc/self" } = this.#parts;
    try {
      const limits = await readFile(`${folder}/limits`, "utf8");
      // Each column has spaces within and more of them behind.
      const [, soft] = limits.split("\n").find(isOfFiles)?.split(/ {2,}/) ?? [];
      this.#limit = soft === undefined || soft === "unlimited" ? Number.POSITIVE_INFINITY : Number(soft);
      this.#used = (await readdir(`${folder}/fd`)).length;
    } catch (error) {
      if (!isExhausted(error)) return;
      // Not one is left to count the others with.
      this.#used = Math.max(this.#used, this.#limit);
    }
    this.#tell();
  }

  #tell(): void {
    const { percent, logger } = this.#parts;
    const share = (100 * this.#used) / this.#limit;
    const wasScarce = this.#scarce;
    this.#scarce = share >= (wasScarce ? percent - slackPercent : percent);
    if (this.#scarce === wasScarce) return;
    if (this.#scarce) logger.warn({ used: this.#used, limit: this.#limit }, this.scarcity);
    else logger.info({ used: this.#used, limit: this.#limit }, "there are enough descriptors again");
  }
}

function isOfFiles(line: string): boolean {
  return line.startsWith("Max open files");
}

function isExhausted(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === "EMFILE" || code === "ENFILE";
}

/** With 50,000 connections a count takes some ten milliseconds of a processor. */
const countEveryMs = 5_000;

/** By how much it must fall before it is said to be well again, so that it is not said over and over. */
const slackPercent = 5;
