import { randomUUID } from "node:crypto";
import type { BatchUpdate } from "../../src/device/registry/batch-update.ts";
import { DeviceBatches } from "../../src/device/registry/device-batch.ts";
import { DeviceCreation } from "../../src/device/registry/device-creation.ts";
import { DeviceEnrolment, type EnrolmentRequest } from "../../src/device/registry/device-enrolment.ts";
import { DeviceKeyReplacement } from "../../src/device/registry/device-key-replacement.ts";
import { DeviceRegistry, type DeviceRetired } from "../../src/device/registry/device-registry.ts";
import { DeviceReinstatement } from "../../src/device/registry/device-reinstatement.ts";
import { DeviceStandings } from "../../src/device/registry/device-standings.ts";
import { SavedFilters } from "../../src/device/registry/saved-filters.ts";
import { TokenRotation } from "../../src/device/registry/token-rotation.ts";
import type { DeviceChange } from "../../src/device/state/device-changes.ts";
import { DeviceChanges } from "../../src/device/state/device-changes.ts";
import { DeviceDirectory } from "../../src/device/state/device-directory.ts";
import type { HeartbeatRecord } from "../../src/device/state/heartbeat-record.ts";
import { StateWriter } from "../../src/device/state/state-writer.ts";
import { DeviceMarks } from "../../src/heartbeat/device-marks.ts";
import type { Clock } from "../../src/infra/clock.ts";
import { Metrics } from "../../src/infra/metrics.ts";
import { type AccessReplica, heard, joinAccess, silent, startAccess } from "../access/access-fixture.ts";

/** One replica's device classes, beside its access classes. */
export interface DeviceReplica extends AsyncDisposable {
  readonly access: AccessReplica;
  readonly changes: DeviceChanges;
  /** The changes that this replica heard of. */
  readonly heardChanges: DeviceChange[];
  readonly states: StateWriter;
  readonly directory: DeviceDirectory;
  readonly enrolment: DeviceEnrolment;
  readonly creation: DeviceCreation;
  readonly registry: DeviceRegistry;
  readonly keyReplacement: DeviceKeyReplacement;
  readonly tokenRotation: TokenRotation;
  readonly reinstatement: DeviceReinstatement;
  readonly standings: DeviceStandings;
  readonly batches: DeviceBatches;
  readonly savedFilters: SavedFilters;
}

/** What is asked of what devices sign. */
const signedTokens = { audience: "device-ota", maxSeconds: 600, toleranceSeconds: 60 };

/** A bulk change that names nobody and changes nothing: tests say what theirs does. */
export const noChange: BatchUpdate = {
  actor: "operator:ada",
  deviceIds: [],
  filter: "",
  expectedCount: undefined,
  addGroups: [],
  removeGroups: [],
  addTags: [],
  removeTags: [],
  updatePin: undefined,
  product: undefined,
  retire: false,
  rotateToken: false,
  standingVerb: undefined,
  reason: "",
  validateOnly: false,
};

/** A replica on a database of its own. */
export async function startDevices(
  retired: (clock: Clock) => readonly DeviceRetired[] = () => [],
): Promise<DeviceReplica> {
  const access = await startAccess();
  return await devicesOn(access, retired(access.clock));
}

/** Another replica on the same database. */
export async function joinDevices(url: string): Promise<DeviceReplica> {
  return await devicesOn(await joinAccess(url), []);
}

async function devicesOn(access: AccessReplica, retired: readonly DeviceRetired[]): Promise<DeviceReplica> {
  const { database, clock, audit, credentials, idempotency, enrolmentKeys } = access;
  const changes = new DeviceChanges({ database });
  const heardChanges: DeviceChange[] = [];
  changes.subscribe({ deviceChanged: (change) => heardChanges.push(change) });
  const states = new StateWriter({ database, clock, logger: silent, flushIntervalMs: 20 });
  const directory = new DeviceDirectory({ database, changes, states, clock, logger: silent });
  await heard(database);
  const heartbeatIntervalMs = 60_000;
  const enrolAgainMs = 24 * 3_600_000;
  const parts = { database, audit, changes, clock, heartbeatIntervalMs };
  const registry = new DeviceRegistry({ ...parts, credentials, states, retired, identity: [], enrolAgainMs });
  const standings = new DeviceStandings({ database, credentials, audit, changes, blocked: [], clock });
  const tokenRotation = new TokenRotation({ database, credentials, audit, changes });
  return {
    access,
    changes,
    heardChanges,
    states,
    directory,
    enrolment: new DeviceEnrolment({
      database,
      idempotency,
      keys: enrolmentKeys,
      credentials,
      audit,
      changes,
      marks: new DeviceMarks(),
      identity: [],
      metrics: new Metrics({ processMetrics: false }).devices,
      clock,
      signedTokens,
      retryMs: 15 * 60_000,
    }),
    creation: new DeviceCreation({ database, idempotency, credentials, audit, changes, clock }),
    registry,
    tokenRotation,
    keyReplacement: new DeviceKeyReplacement({
      database,
      idempotency,
      credentials,
      audit,
      changes,
      clock,
      rules: signedTokens,
    }),
    standings,
    reinstatement: new DeviceReinstatement({ database, audit, clock, enrolAgainMs }),
    batches: new DeviceBatches({ ...parts, registry, standings, tokenRotation, maxStandings: 3 }),
    savedFilters: new SavedFilters({ database, idempotency, audit }),
    async [Symbol.asyncDispose]() {
      await directory.close();
      changes.close();
      await access[Symbol.asyncDispose]();
    },
  };
}

/** The secret of an enrolment key. */
export async function enrolmentKey(
  { access }: DeviceReplica,
  limits: { maxUses?: number; deviceTypes?: string[]; requireApproval?: boolean } = {},
): Promise<string> {
  const { secret } = await access.enrolmentKeys.create({
    actor: "operator:root",
    requestId: undefined,
    name: "tests",
    maxUses: limits.maxUses ?? 0,
    deviceTypes: limits.deviceTypes ?? [],
    serialNumberPatterns: [],
    serialNumbers: [],
    requireApproval: limits.requireApproval ?? false,
    expiresAt: undefined,
  });
  return secret;
}

/** What a thermostat says when it enrols. */
export function enrolmentOf(
  key: string,
  serialNumber: string,
  other: Partial<EnrolmentRequest> = {},
): EnrolmentRequest {
  return {
    requestId: randomUUID(),
    source: "203.0.113.7",
    enrolmentKey: key,
    serialNumber,
    deviceType: "thermostat",
    hardwareModel: "tx-200",
    product: "",
    firmwareVersion: "1.0.0",
    metadata: {},
    publicKey: "",
    keyProof: "",
    formerDeviceId: "",
    ...other,
  };
}

/** A heartbeat of a device. */
export function heartbeatOf(
  deviceId: string,
  sequence: number,
  other: Partial<HeartbeatRecord> = {},
): HeartbeatRecord {
  return {
    deviceId,
    epoch: 1,
    sequence,
    receivedAt: new Date("2026-01-01T00:00:00Z"),
    firmwareVersion: "1.0.0",
    bootId: "boot-1",
    uptimeMs: 1_000,
    securityCounter: 0,
    errors: [],
    metrics: undefined,
    ...other,
  };
}
