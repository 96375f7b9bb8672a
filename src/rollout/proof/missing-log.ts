import type { OpenUpdate } from "../model/open-update.ts";
import { recordRollout } from "../model/rollout-audit.ts";
import type { RolloutTransactions } from "../model/rollout-transactions.ts";

/**
 * Writes into the audit log that devices went missing or are back: one entry a rollout for all of some seconds. What
 * cannot be written in an outage is lost here, for the updates themselves say it.
 */
export class MissingLog {
  readonly #transactions: RolloutTransactions;
  readonly #noted = new Map<string, { missing: number; back: number }>();
  #wroteAtMs = 0;

  constructor(transactions: RolloutTransactions) {
    this.#transactions = transactions;
  }

  /** A device of a rollout is missing, or back. */
  note({ rolloutId, action }: Pick<OpenUpdate, "rolloutId" | "action">, missing: boolean): void {
    if (action === "ROLLBACK") return;
    const noted = this.#noted.get(rolloutId) ?? { missing: 0, back: 0 };
    noted[missing ? "missing" : "back"] += 1;
    this.#noted.set(rolloutId, noted);
  }

  /** Writes what was noted, if it is time. Called about every second. */
  async tick(nowMs: number): Promise<void> {
    if (this.#noted.size === 0 || Math.abs(nowMs - this.#wroteAtMs) < gatherMs) return;
    this.#wroteAtMs = nowMs;
    for (const [rolloutId, { missing, back }] of this.#noted) {
      this.#noted.delete(rolloutId);
      await this.#write(rolloutId, "missing", missing, `${words(missing)} missing`);
      await this.#write(rolloutId, "back", back, `${missingWords(back)} back`);
    }
  }

  async #write(rolloutId: string, kind: "missing" | "back", devices: number, reason: string): Promise<void> {
    if (devices === 0) return;
    await this.#transactions.run((tx) =>
      recordRollout(tx, rolloutId, {
        actor: "system:silence",
        action: `rollout.devices_${kind}`,
        reason,
        details: { devices: String(devices) },
      }),
    );
  }
}

function words(devices: number): string {
  return devices === 1 ? "1 device that began to install is" : `${devices} devices that began to install are`;
}

function missingWords(devices: number): string {
  return devices === 1 ? "1 missing device is" : `${devices} missing devices are`;
}

/** Devices that were updated together go missing together. */
const gatherMs = 5_000;
