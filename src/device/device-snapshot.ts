import type { HeartbeatRecord } from "./heartbeat-record.ts";

/**
 * What the service keeps in memory of a device: enough to decide about its updates. It is a live view: newer heartbeats
 * change it, so read it where the decision is made and keep no copy of it across waits.
 */
export interface DeviceSnapshot {
  readonly id: string;
  readonly deviceType: string;
  readonly hardwareModel: string;
  readonly groups: readonly string[];
  readonly retired: boolean;
  /** Of the newest heartbeat or, before the first one, what the device said when it enrolled; empty if unknown. */
  readonly firmwareVersion: string;
  /** Empty before the first heartbeat. */
  readonly bootId: string;
  /** The highest that it ever reported: it never goes down. */
  readonly securityCounter: number;
  readonly batteryPercent: number | undefined;
  readonly charging: boolean | undefined;
  readonly storageFreeBytes: number | undefined;
  /** When the newest heartbeat was received, in milliseconds since 1970; undefined before the first one. */
  readonly lastSeenAtMs: number | undefined;
  /** The key that it enrolled with; undefined if an operator registered it. */
  readonly enrolmentKeyId: string | undefined;
}

/** What the registry says of a device, apart from its heartbeats. */
export interface DeviceFacts {
  readonly id: string;
  readonly deviceType: string;
  readonly hardwareModel: string;
  readonly groups: readonly string[];
  readonly retired: boolean;
  readonly enrolmentKeyId: string | undefined;
  /** What it said that it ran when it enrolled; empty if unknown. */
  readonly enrolledVersion: string;
}

/** The readings of a heartbeat that decisions need. */
export type Reading = Pick<
  HeartbeatRecord,
  | "epoch"
  | "sequence"
  | "receivedAt"
  | "firmwareVersion"
  | "bootId"
  | "batteryPercent"
  | "charging"
  | "storageFreeBytes"
  | "securityCounter"
>;

/** A {@link DeviceSnapshot} that moves with the heartbeats, forward only. One shape, shared texts: some 350 bytes each. */
export class LiveDevice implements DeviceSnapshot {
  readonly id: string;
  deviceType: string;
  hardwareModel: string;
  groups: readonly string[];
  retired: boolean;
  enrolmentKeyId: string | undefined;
  firmwareVersion: string;
  bootId = "";
  securityCounter = 0;
  batteryPercent: number | undefined = undefined;
  charging: boolean | undefined = undefined;
  storageFreeBytes: number | undefined = undefined;
  lastSeenAtMs: number | undefined = undefined;
  epoch = -1;
  sequence = -1;
  /** For the cache that holds it. */
  used = false;
  /** When its record was read, in whole monotonic seconds. */
  readAtSeconds: number;

  constructor(facts: DeviceFacts, readAtSeconds: number) {
    this.id = facts.id;
    this.deviceType = facts.deviceType;
    this.hardwareModel = facts.hardwareModel;
    this.groups = facts.groups;
    this.retired = facts.retired;
    this.enrolmentKeyId = facts.enrolmentKeyId;
    this.firmwareVersion = facts.enrolledVersion;
    this.readAtSeconds = readAtSeconds;
  }

  /** Takes a reading unless it is older than what is known; says whether it did. */
  take(reading: Reading): boolean {
    if (!isNewer(reading, this)) return false;
    this.epoch = reading.epoch;
    this.sequence = reading.sequence;
    this.lastSeenAtMs = reading.receivedAt.getTime();
    // Equal texts are not replaced, so that a device keeps the shared one and not one of every heartbeat.
    if (this.firmwareVersion !== reading.firmwareVersion) this.firmwareVersion = reading.firmwareVersion;
    if (this.bootId !== reading.bootId) this.bootId = reading.bootId;
    this.batteryPercent = reading.batteryPercent;
    this.charging = reading.charging;
    this.storageFreeBytes = reading.storageFreeBytes;
    this.securityCounter = Math.max(this.securityCounter, reading.securityCounter);
    return true;
  }

  /** Takes over what another, older view of the same device knew of its heartbeats, if that is newer. */
  takeReadingsOf(other: LiveDevice): void {
    if (!isNewer(other, this)) return;
    this.epoch = other.epoch;
    this.sequence = other.sequence;
    this.lastSeenAtMs = other.lastSeenAtMs;
    this.firmwareVersion = other.firmwareVersion;
    this.bootId = other.bootId;
    this.batteryPercent = other.batteryPercent;
    this.charging = other.charging;
    this.storageFreeBytes = other.storageFreeBytes;
    this.securityCounter = Math.max(this.securityCounter, other.securityCounter);
  }
}

/** Whether a heartbeat came after another one of the same device. */
export function isNewer(
  a: { readonly epoch: number; readonly sequence: number },
  b: { readonly epoch: number; readonly sequence: number },
): boolean {
  return a.epoch > b.epoch || (a.epoch === b.epoch && a.sequence > b.sequence);
}

/** Makes equal texts one, so that a fleet of one type costs one text. Bounded: it starts afresh when full. */
export class SharedTexts {
  readonly #texts = new Map<string, string>();
  readonly #groups = new Map<string, readonly string[]>();

  /** The shared copy of a text. */
  text(text: string): string {
    return shared(this.#texts, text, text);
  }

  /** The shared copy of a list of group names, which hold no commas. */
  list(groups: readonly string[]): readonly string[] {
    return shared(this.#groups, groups.join(","), groups);
  }
}

/** Types, models, versions and combinations of groups that a fleet has at once: rarely more than hundreds. */
const maxShared = 10_000;

function shared<T>(known: Map<string, T>, key: string, value: T): T {
  const found = known.get(key);
  if (found !== undefined) return found;
  if (known.size >= maxShared) known.clear();
  known.set(key, value);
  return value;
}
