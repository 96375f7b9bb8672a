import type { DeviceCheck } from "./check-writer.ts";
import { type ClockVerdict, clockVerdictOf } from "./clock-verdict.ts";
import type { FaultTimes, FilterableDevice, UpdatePin } from "./filterable-device.ts";
import type { HeartbeatRecord } from "./heartbeat-record.ts";
import { LiveReadings } from "./held-readings.ts";
import type { HeldProperty } from "./readings.ts";
import type { Standing } from "./standing.ts";

/**
 * What the service keeps in memory of a device: enough to decide about its updates. It is a live view: newer heartbeats
 * change it, so read it where the decision is made and keep no copy of it across waits.
 */
export interface DeviceSnapshot extends FilterableDevice {
  readonly retired: boolean;
  /** The product that it runs, as it or an operator said; empty if nobody did. */
  readonly product: string;
  /** Empty before the first heartbeat. */
  readonly bootId: string;
  /** The key that it enrolled with; undefined if an operator registered it. */
  readonly enrolmentKeyId: string | undefined;
}

/** What the registry says of a device, apart from its heartbeats. */
export interface DeviceFacts
  extends Pick<
    FilterableDevice,
    | "id"
    | "serialNumber"
    | "deviceType"
    | "hardwareModel"
    | "displayName"
    | "groups"
    | "tags"
    | "metadata"
    | "updatePin"
    | "standing"
    | "cloneSuspectedAtMs"
    | "createdAtMs"
    | "expectedIntervalMs"
    | "faultTimes"
  > {
  readonly retired: boolean;
  readonly product: string;
  readonly enrolmentKeyId: string | undefined;
  /** What it said that it ran when it enrolled; empty if unknown. */
  readonly enrolledVersion: string;
}

/** What decisions need of a heartbeat. */
export type Reading = Pick<
  HeartbeatRecord,
  | "epoch"
  | "sequence"
  | "receivedAt"
  | "clockOffsetMs"
  | "firmwareVersion"
  | "bootId"
  | "securityCounter"
  | "components"
  | HeldProperty
>;

/** A {@link DeviceSnapshot} that moves with the heartbeats, forward only. One shape, shared texts: some 500 bytes each. */
export class LiveDevice extends LiveReadings implements DeviceSnapshot {
  readonly id: string;
  readonly serialNumber: string;
  readonly deviceType: string;
  readonly hardwareModel: string;
  readonly displayName: string;
  readonly groups: readonly string[];
  readonly tags: readonly string[];
  readonly metadata: Readonly<Record<string, string>>;
  readonly updatePin: UpdatePin;
  readonly standing: Standing;
  readonly cloneSuspectedAtMs: number | undefined;
  readonly createdAtMs: number;
  readonly expectedIntervalMs: number | undefined;
  readonly faultTimes: FaultTimes;
  readonly retired: boolean;
  readonly product: string;
  readonly enrolmentKeyId: string | undefined;
  firmwareVersion: string;
  bootId = "";
  securityCounter = 0;
  clockVerdict: ClockVerdict | undefined = undefined;
  lastSeenAtMs: number | undefined = undefined;
  components: Readonly<Record<string, string>> | undefined = undefined;
  epoch = -1;
  sequence = -1;
  /** For the cache that holds it. */
  used = false;
  /** When its record was read, in whole monotonic seconds. */
  readAtSeconds: number;

  constructor(facts: DeviceFacts, readAtSeconds: number) {
    super();
    this.id = facts.id;
    this.serialNumber = facts.serialNumber;
    this.deviceType = facts.deviceType;
    this.hardwareModel = facts.hardwareModel;
    this.displayName = facts.displayName;
    this.groups = facts.groups;
    this.tags = facts.tags;
    this.metadata = facts.metadata;
    this.updatePin = facts.updatePin;
    this.standing = facts.standing;
    this.cloneSuspectedAtMs = facts.cloneSuspectedAtMs;
    this.createdAtMs = facts.createdAtMs;
    this.expectedIntervalMs = facts.expectedIntervalMs;
    this.faultTimes = facts.faultTimes;
    this.retired = facts.retired;
    this.product = facts.product;
    this.enrolmentKeyId = facts.enrolmentKeyId;
    this.firmwareVersion = facts.enrolledVersion;
    this.readAtSeconds = readAtSeconds;
  }

  /** Takes a reading unless it is older than what is known; says whether it did. */
  take(reading: Reading): boolean {
    if (!isNewer(reading, this)) return false;
    this.lastSeenAtMs = reading.receivedAt.getTime();
    this.clockVerdict = clockVerdictOf(this.lastSeenAtMs, reading.clockOffsetMs);
    // Equal texts are not replaced, so that a device keeps the shared one and not one of every heartbeat.
    if (this.firmwareVersion !== reading.firmwareVersion) this.firmwareVersion = reading.firmwareVersion;
    if (this.bootId !== reading.bootId) this.bootId = reading.bootId;
    this.#takeValues(reading);
    return true;
  }

  /** Takes what the device said of itself when it asked for an update; it does not count as a heartbeat. */
  takeCheck(check: DeviceCheck): void {
    this.lastSeenAtMs = check.receivedAt.getTime();
    if (this.firmwareVersion !== check.firmwareVersion) this.firmwareVersion = check.firmwareVersion;
    if (check.bootId !== "" && this.bootId !== check.bootId) this.bootId = check.bootId;
    this.takeTold(check);
    this.components = check.components ?? this.components;
    this.securityCounter = Math.max(this.securityCounter, check.securityCounter);
  }

  /** Takes over what another, older view of the same device knew of its heartbeats, if that is newer. */
  takeReadingsOf(other: LiveDevice): void {
    if (!isNewer(other, this)) return;
    this.lastSeenAtMs = other.lastSeenAtMs;
    this.clockVerdict = other.clockVerdict;
    this.firmwareVersion = other.firmwareVersion;
    this.bootId = other.bootId;
    this.#takeValues(other);
  }

  #takeValues(from: Omit<Reading, "receivedAt" | "clockOffsetMs">): void {
    this.epoch = from.epoch;
    this.sequence = from.sequence;
    this.takeReadings(from);
    // Heartbeats tell the components when they change; the others leave them out.
    if (from.components !== undefined) this.components = from.components;
    this.securityCounter = Math.max(this.securityCounter, from.securityCounter);
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
