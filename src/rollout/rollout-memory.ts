import { randomUUID } from "node:crypto";
import type { Database } from "../infra/database/database.ts";
import type { Logger } from "../infra/logger.ts";
import type { RolloutIndex } from "./offer/rollout-index.ts";
import type { UpdateTracker } from "./proof/update-tracker.ts";

/** What a {@link RolloutMemory} is made of. */
export interface RolloutMemoryParts {
  readonly database: Pick<Database, "listen" | "notify">;
  readonly index: RolloutIndex;
  readonly tracker: UpdateTracker;
  readonly logger: Logger;
  /** A rollout was changed on this replica or another one, and is known as it is now. */
  readonly changed: (rolloutId: string) => void;
  /** The catalogue and the rollouts were read anew. */
  readonly indexed: () => void;
}

/**
 * Keeps what a replica has in memory of rollouts and updates in step with the database: by what it changed itself, by what
 * other replicas say that they changed, and by polls, for notices may get lost.
 */
export class RolloutMemory {
  readonly #parts: RolloutMemoryParts;
  /** Names this replica, which has acted on its own changes before it hears of them. */
  readonly #origin = randomUUID();
  readonly #stopListening: () => void;
  #following: Promise<void> = Promise.resolve();
  #polls = 0;
  #stopped = false;

  constructor(parts: RolloutMemoryParts) {
    this.#parts = parts;
    this.#stopListening = parts.database.listen(channel, {
      notified: (payload) => {
        const [origin, rolloutId] = payload.split(":");
        if (origin !== this.#origin && rolloutId !== undefined) void this.#take(rolloutId);
      },
      listening: () => void this.follow(() => this.#catchUp()),
    });
  }

  /** Reads what is open. */
  async load(): Promise<void> {
    const { index, tracker } = this.#parts;
    await Promise.all([index.poll(), tracker.poll()]);
  }

  /** Looks for what other replicas did; to be called at every tick. */
  async poll(): Promise<void> {
    const { index, tracker } = this.#parts;
    this.#polls += 1;
    const every = tracker.size > largeTracker ? reconcileTicksWhenLarge : reconcileTicks;
    await tracker.poll();
    if (this.#polls % every === 0) await tracker.reconcile();
    if (await index.poll()) this.#indexed();
  }

  /** Tells of a rollout that was changed here, after the commit; resolves when this replica knows it as it is now. */
  changed(rolloutId: string): Promise<void> {
    this.#parts.database.notify(channel, `${this.#origin}:${rolloutId}`);
    return this.#take(rolloutId);
  }

  /** Runs one after the other what keeps memory in step. What fails is made up for by the next poll. */
  follow(work: () => Promise<void>): Promise<void> {
    if (this.#stopped) return Promise.resolve();
    this.#following = this.#following.then(work).catch((error: unknown) => {
      this.#parts.logger.warn({ err: error }, "could not follow a change of a rollout at once");
    });
    return this.#following;
  }

  /** Takes no more changes. */
  stop(): void {
    this.#stopped = true;
    this.#stopListening();
  }

  /** Resolves when no change is under way. */
  async idle(): Promise<void> {
    await this.#following;
  }

  #take(rolloutId: string): Promise<void> {
    const { index, tracker, changed } = this.#parts;
    return this.follow(async () => {
      await Promise.all([index.reload(), tracker.reconcile(rolloutId)]);
      changed(rolloutId);
      this.#indexed();
    });
  }

  async #catchUp(): Promise<void> {
    const { index, tracker } = this.#parts;
    if (await index.poll()) this.#indexed();
    await tracker.reconcile();
  }

  #indexed(): void {
    const { index, tracker, indexed } = this.#parts;
    tracker.renamed((firmwareId) => index.reportedVersions(firmwareId));
    indexed();
  }
}

const channel = "ota_rollout";

/** Updates ended by other replicas are noticed after this many ticks. */
const reconcileTicks = 10;

/** As {@link reconcileTicks}, where reading all open updates takes long. */
const reconcileTicksWhenLarge = 60;
const largeTracker = 5_000;
