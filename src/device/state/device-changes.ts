import { randomUUID } from "node:crypto";
import type { Database } from "../../infra/database/database.ts";

/** What an operator, or the device itself by enrolling, did to a device. */
export interface DeviceChange {
  readonly deviceId: string;
  /** `updated`: its record changed; `token_rotation_requested`: it shall exchange its token. The others also end its connections: their credential works no more, or not for now. */
  readonly kind: (typeof kinds)[number];
}

/** Whoever keeps something of devices in memory, or their connections. Must not throw. */
export interface DeviceChangeListener {
  /** Told after the commit: at once on the replica that made the change, within a moment on the others. */
  deviceChanged(change: DeviceChange): void;
  /** Changes made on other replicas may have been missed: what was read before now may be old. */
  changesMissed?(): void;
}

/** Spreads changes of devices' records over this replica and, by NOTIFY, over the others. */
export class DeviceChanges {
  readonly #database: Pick<Database, "listen" | "notify">;
  readonly #listeners = new Set<DeviceChangeListener>();
  readonly #stopListening: () => void;
  /** Names this replica, which has acted on its own changes before it hears of them. */
  readonly #origin = randomUUID();

  constructor(parts: { readonly database: Pick<Database, "listen" | "notify"> }) {
    this.#database = parts.database;
    this.#stopListening = parts.database.listen(channel, {
      notified: (payload) => {
        const [origin, kind, deviceIds = ""] = payload.split(":");
        if (origin === this.#origin || !isKind(kind)) return;
        for (const deviceId of deviceIds.split(",")) this.#tell({ deviceId, kind });
      },
      listening: () => {
        for (const listener of this.#listeners) listener.changesMissed?.();
      },
    });
  }

  /** Adds a listener; returns how to remove it. */
  subscribe(listener: DeviceChangeListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Announces a change that is committed. */
  publish(change: DeviceChange): void {
    this.#tell(change);
    this.#database.notify(channel, `${this.#origin}:${change.kind}:${change.deviceId}`);
  }

  /** Announces that the records of many devices changed, in few notifications. */
  publishUpdates(deviceIds: readonly string[]): void {
    this.publishAll("updated", deviceIds);
  }

  /** Likewise, that the same happened to many devices. */
  publishAll(kind: DeviceChange["kind"], deviceIds: readonly string[]): void {
    for (const deviceId of deviceIds) this.#tell({ deviceId, kind });
    for (let start = 0; start < deviceIds.length; start += idsPerNotification) {
      const ids = deviceIds.slice(start, start + idsPerNotification);
      this.#database.notify(channel, `${this.#origin}:${kind}:${ids.join(",")}`);
    }
  }

  /** Stops listening to the other replicas. */
  close(): void {
    this.#stopListening();
    this.#listeners.clear();
  }

  #tell(change: DeviceChange): void {
    for (const listener of this.#listeners) listener.deviceChanged(change);
  }
}

const kinds = ["updated", "token_rotation_requested", "credentials_revoked", "retired", "blocked"] as const;

const channel = "device_changed";

/** PostgreSQL takes payloads below 8,000 bytes; an id has 36 and a comma. */
const idsPerNotification = 200;

function isKind(text: string | undefined): text is DeviceChange["kind"] {
  return kinds.some((kind) => kind === text);
}
