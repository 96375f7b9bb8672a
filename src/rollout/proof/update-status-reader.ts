import { BatchLoader } from "../../infra/batch-loader.ts";
import type { Session } from "../../infra/database/session.ts";
import type { DeviceUpdateState } from "../model/device-update.entity.ts";
import { isFinalUpdate } from "../model/device-update-state.ts";
import type { OpenUpdate, UpdateKey } from "../model/open-update.ts";
import { readOpenUpdates, readStates } from "./open-update-rows.ts";

/** How an update stands in the database. */
export interface UpdateStatus {
  readonly state: DeviceUpdateState;
  /** What is open for the device, if the update is not over. */
  readonly open: OpenUpdate | undefined;
}

/**
 * Reads how single updates stand. When a replica dies, all of its devices come to another one within seconds, and each of
 * them needs such a read: those that are asked for at the same time are read together.
 */
export class UpdateStatusReader {
  readonly #statuses: BatchLoader<UpdateStatus>;
  readonly #open: BatchLoader<OpenUpdate>;

  constructor(pool: Session) {
    const limits = { maxBatch, maxPending };
    this.#statuses = new BatchLoader({ ...limits, load: (keys) => readStatuses(pool, keys.map(toKey)) });
    this.#open = new BatchLoader({
      ...limits,
      load: async (deviceIds) => {
        const updates = await readOpenUpdates(pool, { deviceIds });
        return new Map(updates.map((update) => [update.deviceId, update]));
      },
    });
  }

  /** How an update stands now; undefined if there is none of that id. `QUEUE_FULL` if too many are asked for. */
  status({ deviceId, id }: UpdateKey): Promise<UpdateStatus | undefined> {
    return fresh(this.#statuses, `${deviceId}:${id}`);
  }

  /** The device's open update. `QUEUE_FULL` if too many are asked for. */
  open(deviceId: string): Promise<OpenUpdate | undefined> {
    return fresh(this.#open, deviceId);
  }
}

/** A read that is under way may have begun before what the caller knows of. */
function fresh<Value>(loader: BatchLoader<Value>, key: string): Promise<Value | undefined> {
  loader.changed(key);
  return loader.get(key);
}

/** Keys as `<device>:<update>`. */
async function readStatuses(pool: Session, keys: readonly UpdateKey[]): Promise<Map<string, UpdateStatus>> {
  const states = await readStates(pool, keys);
  const open = keys.filter(({ id }) => {
    const state = states.get(id);
    return state !== undefined && !isFinalUpdate(state);
  });
  const deviceIds = open.map(({ deviceId }) => deviceId);
  const updates = open.length === 0 ? [] : await readOpenUpdates(pool, { deviceIds });
  const byDevice = new Map(updates.map((update) => [update.deviceId, update]));
  return new Map(
    keys.flatMap(({ deviceId, id }) => {
      const state = states.get(id);
      if (state === undefined) return [];
      return [
        [`${deviceId}:${id}`, { state, open: isFinalUpdate(state) ? undefined : byDevice.get(deviceId) }],
      ];
    }),
  );
}

function toKey(text: string): UpdateKey {
  const [deviceId = "", id = ""] = text.split(":");
  return { deviceId, id };
}

/** Rows of one statement: some ten milliseconds. */
const maxBatch = 2_000;

/** Updates that wait to be read, at some 200 bytes each. */
const maxPending = 100_000;
