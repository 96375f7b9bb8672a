/**
 * Reaches devices that hold a heartbeat stream to this replica. Implemented by the heartbeat feature. Directives are
 * hints: one that gets lost is made up for by the device's next update check.
 */
export interface DirectiveSender {
  /** Tells a device that an update waits; false if it is not connected here. */
  updateAvailable(deviceId: string, rolloutId: string): boolean;
  /** Tells a device to stop working on an update; false if it is not connected here. */
  cancelUpdate(deviceId: string, updateId: string, reason: string): boolean;
  /** The devices that are connected now. */
  connectedDevices(): Iterable<string>;
}

/** How {@link UpdateAnnouncer} finds what to announce. */
export interface AnnouncerParts {
  readonly sender: DirectiveSender;
  /** The rollout whose update the device would be given if it asked now; undefined if there is none. */
  readonly waitingFor: (deviceId: string) => string | undefined | Promise<string | undefined>;
}

/**
 * Tells connected devices that an update waits, at most {@link announcedPerTick} devices every {@link announceTickMs}
 * (20,000 a second), so that neither the event loop nor the update checks that follow are flooded.
 */
export class UpdateAnnouncer {
  readonly #parts: AnnouncerParts;
  #devices: Iterator<string> | undefined;
  #again = false;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(parts: AnnouncerParts) {
    this.#parts = parts;
  }

  /** Goes through the connected devices; if it is under way already, once more after that. */
  announce(): void {
    if (this.#closed) return;
    if (this.#devices !== undefined) {
      this.#again = true;
      return;
    }
    // A copy: devices come and go while this goes on.
    this.#devices = [...this.#parts.sender.connectedDevices()][Symbol.iterator]();
    this.#tick();
  }

  /** Tells one device, for example one that just connected. */
  announceTo(deviceId: string): void {
    const waiting = this.#parts.waitingFor(deviceId);
    if (!(waiting instanceof Promise)) this.#tell(deviceId, waiting);
    // A device that cannot be read now learns by its next update check.
    else waiting.then((rolloutId) => this.#tell(deviceId, rolloutId)).catch(() => undefined);
  }

  /** Stops. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#devices = undefined;
  }

  #tell(deviceId: string, rolloutId: string | undefined): void {
    if (rolloutId !== undefined && !this.#closed) this.#parts.sender.updateAvailable(deviceId, rolloutId);
  }

  #tick(): void {
    const devices = this.#devices;
    if (devices === undefined) return;
    for (let count = 0; count < announcedPerTick; count++) {
      const next = devices.next();
      if (next.done === true) {
        this.#devices = undefined;
        if (this.#again) {
          this.#again = false;
          this.announce();
        }
        return;
      }
      this.announceTo(next.value);
    }
    this.#timer = setTimeout(() => this.#tick(), announceTickMs);
    this.#timer.unref();
  }
}

/** Devices looked at in one go: some microseconds each. */
export const announcedPerTick = 1_000;

/** Pause between two goes. */
export const announceTickMs = 50;

/** Why a device's update is called off, by the state that it got. */
export const cancelWords = {
  CANCELLED: "the update was cancelled",
  SUPERSEDED: "another update takes its place",
  ROLLED_BACK: "the rollout is being rolled back",
} as const;

/** Reaches devices by all these ways. */
export function everyWay(...senders: readonly DirectiveSender[]): DirectiveSender {
  const byAny = (send: (sender: DirectiveSender) => boolean): boolean =>
    senders.filter((sender) => send(sender)).length > 0;
  return {
    updateAvailable: (...directive) => byAny((sender) => sender.updateAvailable(...directive)),
    cancelUpdate: (...directive) => byAny((sender) => sender.cancelUpdate(...directive)),
    connectedDevices: () => new Set(senders.flatMap((sender) => [...sender.connectedDevices()])),
  };
}

/** Reaches nobody. */
export const nobody: DirectiveSender = {
  updateAvailable: () => false,
  cancelUpdate: () => false,
  connectedDevices: () => [],
};
