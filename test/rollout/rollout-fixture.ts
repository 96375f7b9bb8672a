import { createHash, randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import pg from "pg";
import { v7 as uuidv7 } from "uuid";
import { expect } from "vitest";
import { AuditLog } from "../../src/access/audit-log.ts";
import { SigningKeys } from "../../src/access/signing-keys.ts";
import { openFirmware, openRollouts } from "../../src/assembly/updates.ts";
import { DeviceChanges } from "../../src/device/state/device-changes.ts";
import { DeviceDirectory } from "../../src/device/state/device-directory.ts";
import type { DeviceError, DurableHeartbeat } from "../../src/device/state/heartbeat-record.ts";
import { StateWriter } from "../../src/device/state/state-writer.ts";
import { entities } from "../../src/entities.ts";
import { connectionSettings } from "../../src/infra/database/connection-settings.ts";
import { Database } from "../../src/infra/database/database.ts";
import { IdempotencyKeys } from "../../src/infra/database/idempotency-keys.ts";
import { createLogger } from "../../src/infra/logger.ts";
import { LocalObjectStore } from "../../src/infra/objects/local-object-store.ts";
import type { ReportableState } from "../../src/rollout/model/device-update-state.ts";
import type { NewRollout } from "../../src/rollout/model/new-rollout.ts";
import type { OpenUpdate } from "../../src/rollout/model/open-update.ts";
import type { Rollout } from "../../src/rollout/model/rollout.ts";
import type { CheckAnswer } from "../../src/rollout/offer/update-offers.ts";
import type { RolloutEngine } from "../../src/rollout/rollout-engine.ts";
import { eventually } from "../support/eventually.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { createTestDatabase } from "../support/postgres.ts";

export const logger = createLogger({
  level: (process.env["TEST_LOG"] as "debug") ?? "silent",
  pretty: false,
});
export const actor = "operator:test";
export const content = Buffer.from("firmware ".repeat(50_000));

export const minute = 60_000;

/** A gate that one success opens after a minute. */
export const gate = { minSample: 1, minSuccessPercent: 90, soakMs: minute, manual: false };

/** A database with the clock that its replicas share. */
export interface World extends AsyncDisposable {
  readonly url: string;
  readonly clock: FakeClock;
  /** For a look into the tables. */
  readonly database: Pick<Database, "adminPool">;
  readonly folder: string;
}

/** One service's rollout engine with its real parts. */
export interface Replica extends AsyncDisposable {
  readonly world: World;
  readonly database: Database;
  readonly engine: RolloutEngine;
  readonly directory: DeviceDirectory;
  readonly changes: DeviceChanges;
  readonly states: StateWriter;
  readonly audit: AuditLog;
  /** Directives sent to the connected devices, which are all that this set names. */
  readonly connected: Set<string>;
  readonly directives: string[];
  readonly rolledBackByRule: { count: number };
}

export async function createWorld(): Promise<World> {
  await using cleanup = new AsyncDisposableStack();
  const world = cleanup.use(await openWorld(cleanup.use(await createTestDatabase()).url));
  const owned = cleanup.move();
  return { ...world, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** The same on a migrated database of the test's own. */
export async function openWorld(url: string): Promise<World> {
  await using cleanup = new AsyncDisposableStack();
  const adminPool = new pg.Pool(connectionSettings(url, "tests"));
  // A test may take the database away while a connection rests.
  adminPool.on("error", () => {});
  cleanup.defer(() => adminPool.end());
  const folder = await mkdtemp(join(tmpdir(), "rollouts-"));
  cleanup.defer(() => rm(folder, { recursive: true, force: true }));
  const clock = new FakeClock("2026-03-01T00:00:00Z");
  const store = cleanup.use(new LocalObjectStore(folder, clock));
  await store.put(Readable.from([content]), { maxBytes: content.length });
  const owned = cleanup.move();
  return { url, clock, database: { adminPool }, folder, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** Starts a service's engine on the world's database. */
export async function startReplica(world: World): Promise<Replica> {
  await using cleanup = new AsyncDisposableStack();
  const { clock, folder, url } = world;
  const database = cleanup.use(await Database.connect({ url, logger, entities }));
  const changes = new DeviceChanges({ database });
  cleanup.defer(() => changes.close());
  const states = new StateWriter({ database, clock, logger, flushIntervalMs: 10 });
  const directory = new DeviceDirectory({ database, changes, states, clock, logger });
  cleanup.defer(() => directory.close());
  const audit = new AuditLog({ database });
  const store = cleanup.use(new LocalObjectStore(folder, clock));
  const idempotency = new IdempotencyKeys();
  const signingKeys = new SigningKeys({
    database,
    audit,
    clock,
    revoked: { signingKeyRevoked: async () => 0 },
  });
  const config = {
    requireSignature: false,
    signatureThreshold: 1,
    acceptTestKeys: false,
    rollback: { failureThresholdPercent: 10, timeoutHours: 24 },
    heartbeat: { intervalSeconds: 60 },
  };
  const { firmware, downloads } = openFirmware(
    { config, database, idempotency, store, clock },
    { audit, signingKeys },
  );
  const connected = new Set<string>();
  const directives: string[] = [];
  const tell = (deviceId: string, text: string): boolean => {
    if (connected.has(deviceId)) directives.push(`${deviceId} ${text}`);
    return connected.has(deviceId);
  };
  const rolledBackByRule = { count: 0 };
  const engine = cleanup.use(
    await openRollouts(
      {
        config,
        database,
        idempotency,
        clock,
        logger,
        metrics: {
          ended: { labels: () => ({ inc: () => undefined }) },
          automaticRollbacks: { inc: () => void rolledBackByRule.count++ },
        },
        tickMs: 50,
      },
      {
        audit,
        firmware,
        downloads,
        devices: directory,
        changes,
        directives: {
          connectedDevices: () => connected,
          updateAvailable: (deviceId, rolloutId) => tell(deviceId, `available ${rolloutId}`),
          cancelUpdate: (deviceId, updateId) => tell(deviceId, `cancel ${updateId}`),
        },
      },
    ),
  );
  cleanup.defer(clock.onPass(() => engine.hearing.look()));
  const owned = cleanup.move();
  return {
    world,
    database,
    engine,
    directory,
    changes,
    states,
    audit,
    connected,
    directives,
    rolledBackByRule,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** A world of its own with one replica. */
export async function openReplica() {
  await using cleanup = new AsyncDisposableStack();
  const world = cleanup.use(await createWorld());
  const replica = cleanup.use(await startReplica(world));
  const owned = cleanup.move();
  const { catalog } = replica.engine;
  return { world, replica, catalog, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** Puts a released firmware into the catalogue; returns its id. */
export async function release(
  { database }: Pick<World, "database">,
  version: string,
  other: {
    securityCounter?: number;
    minBatteryPercent?: number;
    minCurrentVersion?: string;
    /** The application that it is; firmware by default. */
    component?: string;
  } = {},
): Promise<string> {
  const id = uuidv7();
  const { component = "" } = other;
  await database.adminPool.query(
    `INSERT INTO firmware_updates (id, product, version, state, device_types, sha256, size_bytes, released_at,
       security_counter, min_battery_percent, min_current_version, kind, component)
     VALUES ($1, $8, $2, 'RELEASED', '{thermostat}', $3, $4, now(), $5, $6, $7, $9, $10)`,
    [
      id,
      version,
      createHash("sha256").update(content).digest("hex"),
      content.length,
      other.securityCounter ?? 0,
      other.minBatteryPercent ?? 0,
      other.minCurrentVersion ?? "",
      component || "os",
      component === "" ? "FIRMWARE" : "APPLICATION",
      component,
    ],
  );
  return id;
}

/** A rollout as tests want it: gates that hold after a minute, devices that are watched for five. */
export function wanted(firmwareId: string, other: Partial<NewRollout> = {}): NewRollout {
  return {
    firmwareId,
    name: "",
    targeting: { deviceTypes: [], hardwareModels: [], groups: [], currentVersionRange: "" },
    policy: { pauseOnFailure: false },
    rings: [5, 25, 75, 100].map((percent, at) => ({
      name: ["canary", "early", "broad", "production"][at] ?? "",
      percent,
      gate: { minSample: 1, minSuccessPercent: 90, soakMs: minute, manual: false },
    })),
    ...other,
  };
}

/** A simulated device, told from real ones only by its lack of sockets. */
export interface SimulatedDevice {
  readonly id: string;
  version: string;
  boot: number;
  bootedAtMs: number;
  sequence: number;
  securityCounter: number;
  /** The versions of its applications; undefined for a device that says nothing of them. */
  components?: Readonly<Record<string, string>>;
}

/** Devices that beat and update as they are told. */
export class Fleet {
  readonly devices: SimulatedDevice[];
  readonly #world: World;

  static async enrol(world: World, size: number, version = "1.0.0", securityCounter = 0): Promise<Fleet> {
    const bootedAtMs = world.clock.now().getTime() - 60 * minute;
    const devices = Array.from({ length: size }, () => ({
      id: uuidv7(),
      version,
      boot: 1,
      bootedAtMs,
      sequence: 0,
      securityCounter,
    }));
    await world.database.adminPool.query(
      `INSERT INTO devices (id, serial_number, device_type, hardware_model)
       SELECT id, id::text, 'thermostat', 't100' FROM unnest($1::uuid[]) AS d (id)`,
      [devices.map(({ id }) => id)],
    );
    return new Fleet(world, devices);
  }

  private constructor(world: World, devices: SimulatedDevice[]) {
    this.#world = world;
    this.devices = devices;
  }

  /** Each device sends a heartbeat, which is durable at once. */
  beat(replica: Replica, devices = this.devices, errors: DeviceError[] = []): void {
    const records = devices.map((device) => this.record(device, errors));
    replica.directory.observe(records);
    replica.engine.observe(records);
  }

  /** Notes that these devices were enrolled with one key; returns its id. */
  async enrolledWithOneKey(devices: readonly SimulatedDevice[]): Promise<string> {
    const keyId = uuidv7();
    const { adminPool } = this.#world.database;
    await adminPool.query(
      "INSERT INTO enrolment_keys (id, name, secret_hash) VALUES ($1::uuid, 'a key', $2)",
      [keyId, Buffer.from(keyId)],
    );
    await adminPool.query("UPDATE devices SET enrolment_key_id = $1 WHERE id = ANY ($2::uuid[])", [
      keyId,
      devices.map(({ id }) => id),
    ]);
    return keyId;
  }

  record(device: SimulatedDevice, errors: DeviceError[] = []): DurableHeartbeat {
    const receivedAt = this.#world.clock.now();
    device.sequence += 1;
    return {
      deviceId: device.id,
      epoch: 1,
      sequence: device.sequence,
      receivedAt,
      firmwareVersion: device.version,
      bootId: bootIdOf(device),
      uptimeMs: receivedAt.getTime() - device.bootedAtMs,
      securityCounter: device.securityCounter,
      errors,
      metrics: undefined,
      ...(device.components === undefined ? {} : { components: device.components }),
    };
  }

  /** Restarts a device, with another version if given. */
  reboot(device: SimulatedDevice, version = device.version): void {
    device.boot += 1;
    device.version = version;
    device.bootedAtMs = this.#world.clock.now().getTime();
  }

  check(replica: Replica, device: SimulatedDevice): Promise<CheckAnswer> {
    return Promise.resolve(
      replica.engine.offers.check(device.id, {
        firmwareVersion: device.version,
        bootId: bootIdOf(device),
        securityCounter: device.securityCounter,
        components: device.components,
      }),
    );
  }

  /** All devices check; those with an offer, and it. */
  async offers(replica: Replica, devices = this.devices): Promise<[SimulatedDevice, Readonly<OpenUpdate>][]> {
    const answers = await Promise.all(devices.map((device) => this.check(replica, device)));
    return answers.flatMap((answer, at) => {
      const device = devices[at];
      return answer.kind === "offer" && device !== undefined ? [[device, answer.update] as const] : [];
    }) as [SimulatedDevice, Readonly<OpenUpdate>][];
  }

  /** Takes an update as a device does, up to its first heartbeat after the reboot, on `version` if it does not stick. */
  async take(
    replica: Replica,
    taken: readonly (readonly [SimulatedDevice, Readonly<OpenUpdate>])[],
    version?: string,
  ): Promise<void> {
    for (const state of ["DOWNLOADING", "DOWNLOADED", "INSTALLING", "REBOOTING"] as const) {
      await Promise.all(taken.map(([device, { id }]) => report(replica, device.id, id, state)));
    }
    this.#world.clock.advance(5_000);
    for (const [device, update] of taken) this.reboot(device, version ?? update.toVersion);
    this.beat(
      replica,
      taken.map(([device]) => device),
    );
  }
}

export function bootIdOf(device: SimulatedDevice): string {
  return `boot-${device.boot}`;
}

export function report(
  replica: Replica,
  deviceId: string,
  updateId: string,
  state: ReportableState,
  failureReason = "",
): Promise<string> {
  return replica.engine.offers.report(deviceId, {
    updateId,
    state,
    failureReason,
    failureMessage: "",
    downloadedBytes: 0,
  });
}

/** A new rollout that runs, known to the replica. */
export async function run(replica: Replica, rollout: NewRollout): Promise<Rollout> {
  const { catalog, index } = replica.engine;
  const { id } = await catalog.create(rollout, { actor, requestId: randomUUID() });
  const started = await catalog.start({ id, actor, reason: "go" });
  // A rollout whose gates ask for nothing may be complete by now.
  expect(index.get(id)?.rollout.state).toMatch(/RUNNING|COMPLETED/);
  return started;
}

/** Waits until the rollout is as `check` wants it. */
export function until(replica: Replica, id: string, check: (rollout: Rollout) => unknown): Promise<Rollout> {
  return eventually(async () => {
    const rollout = await replica.engine.catalog.get(id);
    await check(rollout);
    return rollout;
  });
}

export function ringOf(rollout: Rollout, name: string) {
  const ring = rollout.rings.find((each) => each.name === name);
  if (ring === undefined) throw new Error(`no ring ${name}`);
  return ring;
}

/** Counters of every rollout against a count of its rows, at one moment: nothing may differ, ever. */
export async function expectExactCounters({ database }: Pick<World, "database">): Promise<void> {
  const { rows } = await database.adminPool.query("SELECT * FROM rollout_recount()");
  expect(rows).toEqual([]);
}
