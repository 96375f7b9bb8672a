import { OtaError } from "../../errors.ts";
import type { FirmwareCatalog } from "../../firmware/firmware-catalog.ts";
import { Round } from "../../infra/background/round.ts";
import type { Clock } from "../../infra/clock.ts";
import type { Logger } from "../../infra/logger.ts";
import {
  lockRollout,
  type RolloutTransaction,
  type RolloutTransactions,
} from "../model/rollout-transactions.ts";
import { pause } from "./rollout-verbs.ts";

/** What a {@link SignatureWatch} is made of. */
export interface SignatureWatchParts {
  /** The rollouts that run on firmware whose signatures do not suffice any more, as update checks see it. */
  readonly index: { unsignedRollouts(): readonly string[] };
  readonly firmware: Pick<FirmwareCatalog, "assertSigned">;
  readonly transactions: RolloutTransactions;
  /** A clock that was set may be set right again: nothing is paused by it at once. */
  readonly settled: () => boolean;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly everyMs: number;
}

/**
 * Pauses rollouts whose firmware has lost the signatures that it needs, because a key expired or changed its role, or its product
 * asks for more. Their offers have stopped by then: this says so where operators look. Costs nothing as long as all are signed.
 */
export class SignatureWatch {
  readonly round: Round;
  readonly #parts: SignatureWatchParts;

  constructor(parts: SignatureWatchParts) {
    this.#parts = parts;
    const { clock, logger, everyMs } = parts;
    this.round = new Round({ name: "rollout_signatures", everyMs, work: () => this.#run(), clock, logger });
  }

  async #run(): Promise<void> {
    const { index, transactions, settled, logger } = this.#parts;
    if (!settled()) return;
    for (const rolloutId of index.unsignedRollouts()) {
      const reason = await transactions.run((tx) => this.#pause(tx, rolloutId));
      if (reason !== undefined) logger.warn({ rolloutId, reason }, "paused a rollout for want of signatures");
    }
  }

  /** Asks again with the rollout locked: the index may be older than a signature that somebody added. */
  async #pause(tx: RolloutTransaction, rolloutId: string): Promise<string | undefined> {
    const rollout = await lockRollout(tx, rolloutId);
    if (rollout.state !== "RUNNING") return undefined;
    try {
      await this.#parts.firmware.assertSigned(rollout.firmwareId, tx.em);
      return undefined;
    } catch (error) {
      if (!(error instanceof OtaError) || error.reason !== "FIRMWARE_NOT_SIGNED") throw error;
      await pause(tx, rollout, { actor: "system:signatures", reason: error.message });
      return error.message;
    }
  }
}
