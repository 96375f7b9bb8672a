import type { DeviceSnapshot } from "../../device/state/device-snapshot.ts";
import { type OpenUpdate, runsTarget } from "../model/open-update.ts";
import { versionOf } from "../model/version-of.ts";

/**
 * Devices whose updates succeeded here a moment ago. A device's state is written about once a second: whoever falls back
 * within that has never run the new version as far as the database knows, and is found by what is known of it in memory.
 */
export class JustProven {
  readonly #get: (deviceId: string) => DeviceSnapshot | Promise<DeviceSnapshot>;
  #fresh = new Map<string, Readonly<OpenUpdate>>();
  #settled = new Map<string, Readonly<OpenUpdate>>();

  constructor(get: (deviceId: string) => DeviceSnapshot | Promise<DeviceSnapshot>) {
    this.#get = get;
  }

  add(update: Readonly<OpenUpdate>): void {
    if (this.#fresh.size < maxKept) this.#fresh.set(update.deviceId, update);
  }

  /** Forgets those that succeeded before the last call; returns which of them run something else by now. */
  async fallen(): Promise<string[]> {
    const updates = this.#settled;
    this.#settled = this.#fresh;
    this.#fresh = new Map();
    const fallen: string[] = [];
    for (const [deviceId, update] of updates) {
      const device = await this.#known(deviceId);
      const version = device === undefined ? "" : versionOf(device, update.component);
      if (version !== "" && !runsTarget(update, version)) fallen.push(deviceId);
    }
    return fallen;
  }

  async #known(deviceId: string): Promise<DeviceSnapshot | undefined> {
    try {
      return await this.#get(deviceId);
    } catch {
      // Retired, or the database is away: then its next version says it.
      return undefined;
    }
  }
}

/** As many as succeed in some seconds. */
const maxKept = 100_000;
