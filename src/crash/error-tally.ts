import { v7 as uuidv7 } from "uuid";
import type { DeviceError } from "../device/state/heartbeat-record.ts";
import { type Severity, worseSeverity } from "../device/state/severity.ts";
import type { ErrorGroupState } from "./error-group.ts";
import type { Fingerprint } from "./fingerprint.ts";
import { isHigherVersion, isSurelyHigher } from "./version-order.ts";

/** One error of one stored heartbeat. */
export interface Sighting {
  readonly deviceId: string;
  readonly deviceType: string;
  readonly receivedAt: Date;
  /** `received_at` as the database writes it, in microseconds: with device and sequence the heartbeat's key. */
  readonly receivedAtKey: string;
  readonly sequence: number;
  /** The index in the heartbeat's errors. */
  readonly position: number;
  readonly firmwareVersion: string;
  readonly report: DeviceError;
  readonly fingerprint: Fingerprint;
}

/** What is stored of a group while the tally changes it. */
export interface GroupRow {
  readonly id: string;
  readonly fingerprint: string;
  state: ErrorGroupState;
  title: string;
  code: string;
  severity: Severity;
  fatal: boolean;
  stack_kind: string;
  occurrence_count: number;
  device_count: number;
  first_seen_ms: number;
  last_seen_ms: number;
  first_seen_version: string;
  last_seen_version: string;
  resolved_version: string;
  regressed_ms: number | null;
  state_reason: string;
  readonly grouped_by: string;
  /** The id of the group that counts its errors as well; null for none. */
  readonly merged_into: string | null;
}

/** What is stored of a group on a device. */
export interface GroupDeviceRow {
  readonly group_id: string;
  readonly device_id: string;
  occurrence_count: number;
  first_seen_ms: number;
  last_seen_ms: number;
  last_seen_version: string;
  kept_hour_ms: number;
  kept_count: number;
}

/** How often, to be added to what is stored. */
interface CountRow {
  readonly group_id: string;
  readonly day: string;
  readonly firmware_version: string;
  readonly device_type: string;
  occurrence_count: number;
}

/** An occurrence to be stored. */
interface OccurrenceRow {
  readonly id: string;
  readonly group_id: string;
  readonly device_id: string;
  readonly received_at: string;
  readonly sequence: number;
  readonly position: number;
  readonly crash_log_id: string | null;
}

/** A group that a newer version reopened. */
export interface Regression {
  readonly groupId: string;
  readonly resolvedVersion: string;
  readonly seenVersion: string;
}

/** What is stored already of the groups and devices that a batch of sightings is about. */
export interface StoredErrors {
  readonly groups: readonly GroupRow[];
  readonly devices: readonly GroupDeviceRow[];
  /** Ids of crash logs that exist, each with the device that uploaded it: `log device`. */
  readonly crashLogs: ReadonlySet<string>;
}

/** Occurrences of a group that are kept of one device in one hour; the rest is counted only. */
export const maxKeptPerHour = 10;

/**
 * Adds a batch of sightings up, in memory, to what the tables are to hold afterwards. Counts are exact; what is capped is
 * which occurrences are kept, so that a device in a crash loop cannot fill the disk.
 */
export class ErrorTally {
  readonly groups = new Map<string, GroupRow>();
  readonly devices = new Map<string, GroupDeviceRow>();
  readonly counts = new Map<string, CountRow>();
  readonly occurrences: OccurrenceRow[] = [];
  readonly regressions: Regression[] = [];
  readonly #crashLogs: ReadonlySet<string>;
  readonly #byId: ReadonlyMap<string, GroupRow>;

  constructor(stored: StoredErrors) {
    for (const group of stored.groups) this.groups.set(group.fingerprint, { ...group });
    this.#byId = new Map([...this.groups.values()].map((group) => [group.id, group]));
    for (const device of stored.devices)
      this.devices.set(deviceKey(device.group_id, device.device_id), { ...device });
    this.#crashLogs = stored.crashLogs;
  }

  /** Counts one error: in its own group, which keeps its occurrence, and in the one that it was merged into. */
  add(sighting: Sighting): void {
    const { sha256 } = sighting.fingerprint;
    const group = this.groups.get(sha256) ?? newGroup(sighting);
    this.groups.set(sha256, group);
    this.#keep(group.id, this.#addTo(group, sighting), sighting);
    const whole = group.merged_into === null ? undefined : this.#byId.get(group.merged_into);
    if (whole !== undefined) this.#addTo(whole, sighting);
  }

  #addTo(group: GroupRow, sighting: Sighting): GroupDeviceRow {
    this.#see(group, sighting);
    this.#count(group.id, sighting);
    return this.#device(group, sighting);
  }

  #see(group: GroupRow, sighting: Sighting): void {
    const { report, firmwareVersion } = sighting;
    const seenMs = sighting.receivedAt.getTime();
    group.occurrence_count++;
    group.severity = worseSeverity(group.severity, report.severity);
    group.fatal ||= report.fatal;
    group.last_seen_ms = Math.max(group.last_seen_ms, seenMs);
    if (seenMs < group.first_seen_ms) {
      group.first_seen_ms = seenMs;
      group.first_seen_version = firmwareVersion;
    }
    if (isHigherVersion(firmwareVersion, group.last_seen_version)) group.last_seen_version = firmwareVersion;
    if (
      group.merged_into === null &&
      group.state === "resolved" &&
      isSurelyHigher(firmwareVersion, group.resolved_version)
    ) {
      this.regressions.push({
        groupId: group.id,
        resolvedVersion: group.resolved_version,
        seenVersion: firmwareVersion,
      });
      group.state = "open";
      group.regressed_ms = seenMs;
      group.state_reason = `${regressionActor}: seen again on ${firmwareVersion}, resolved in ${group.resolved_version}`;
      group.resolved_version = "";
    }
  }

  #device(group: GroupRow, { deviceId, receivedAt, firmwareVersion }: Sighting): GroupDeviceRow {
    const seenMs = receivedAt.getTime();
    const key = deviceKey(group.id, deviceId);
    let device = this.devices.get(key);
    if (device === undefined) {
      device = {
        group_id: group.id,
        device_id: deviceId,
        occurrence_count: 0,
        first_seen_ms: seenMs,
        last_seen_ms: seenMs,
        last_seen_version: firmwareVersion,
        kept_hour_ms: 0,
        kept_count: 0,
      };
      this.devices.set(key, device);
      group.device_count++;
    }
    device.occurrence_count++;
    device.first_seen_ms = Math.min(device.first_seen_ms, seenMs);
    if (seenMs >= device.last_seen_ms) {
      device.last_seen_ms = seenMs;
      device.last_seen_version = firmwareVersion;
    }
    return device;
  }

  #count(groupId: string, { receivedAt, firmwareVersion, deviceType }: Sighting): void {
    const day = receivedAt.toISOString().slice(0, 10);
    const key = JSON.stringify([groupId, day, firmwareVersion, deviceType]);
    const row = this.counts.get(key);
    if (row === undefined) {
      this.counts.set(key, {
        group_id: groupId,
        day,
        firmware_version: firmwareVersion,
        device_type: deviceType,
        occurrence_count: 1,
      });
    } else {
      row.occurrence_count++;
    }
  }

  #keep(groupId: string, device: GroupDeviceRow, sighting: Sighting): void {
    const hourMs = Math.floor(sighting.receivedAt.getTime() / hour) * hour;
    if (hourMs > device.kept_hour_ms) {
      device.kept_hour_ms = hourMs;
      device.kept_count = 0;
    }
    if (device.kept_count >= maxKeptPerHour) return;
    device.kept_count++;
    const { deviceId, report } = sighting;
    const crashLogId = report.crashLogId ?? "";
    this.occurrences.push({
      id: uuidv7({ msecs: sighting.receivedAt.getTime() }),
      group_id: groupId,
      device_id: deviceId,
      received_at: sighting.receivedAtKey,
      sequence: sighting.sequence,
      position: sighting.position,
      crash_log_id: this.#crashLogs.has(crashLogKey(crashLogId, deviceId)) ? crashLogId : null,
    });
  }
}

/** Who reopens a group, in the audit log. */
export const regressionActor = "system:regression";

/** How {@link StoredErrors.crashLogs} names a log with its device. */
export function crashLogKey(logId: string, deviceId: string): string {
  return `${logId} ${deviceId}`;
}

const hour = 3_600_000;

function deviceKey(groupId: string, deviceId: string): string {
  return `${groupId} ${deviceId}`;
}

function newGroup({ fingerprint, report, firmwareVersion, receivedAt }: Sighting): GroupRow {
  return {
    id: uuidv7(),
    fingerprint: fingerprint.sha256,
    state: "open",
    title: fingerprint.title,
    code: report.code,
    severity: report.severity,
    fatal: report.fatal,
    stack_kind: fingerprint.stackKind,
    occurrence_count: 0,
    device_count: 0,
    first_seen_ms: receivedAt.getTime(),
    last_seen_ms: receivedAt.getTime(),
    first_seen_version: firmwareVersion,
    last_seen_version: firmwareVersion,
    resolved_version: "",
    regressed_ms: null,
    state_reason: "",
    grouped_by: fingerprint.groupedBy,
    merged_into: null,
  };
}
