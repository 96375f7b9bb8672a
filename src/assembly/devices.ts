import { FleetPresence } from "../device/fleet/fleet-presence.ts";
import { RetiredPresence } from "../device/fleet/retired-presence.ts";
import { DeviceKeys } from "../device/keys/device-keys.ts";
import { CloneWatch } from "../device/registry/clone-watch.ts";
import { DeviceCertificates } from "../device/registry/device-certificates.ts";
import { DeviceCreation } from "../device/registry/device-creation.ts";
import { DeviceEnrolment } from "../device/registry/device-enrolment.ts";
import { DeviceKeyReplacement } from "../device/registry/device-key-replacement.ts";
import { DeviceRegistry } from "../device/registry/device-registry.ts";
import { DeviceReinstatement } from "../device/registry/device-reinstatement.ts";
import { DeviceStandings } from "../device/registry/device-standings.ts";
import { DeviceTypes } from "../device/registry/device-types.ts";
import { TokenRotation } from "../device/registry/token-rotation.ts";
import { CheckWriter } from "../device/state/check-writer.ts";
import { ClientFactsWriter } from "../device/state/client-facts-writer.ts";
import { DeviceChanges } from "../device/state/device-changes.ts";
import { DeviceDirectory } from "../device/state/device-directory.ts";
import { HeartbeatFaultWriter } from "../device/state/heartbeat-fault-writer.ts";
import { StateWriter } from "../device/state/state-writer.ts";
import { DeviceMarks } from "../heartbeat/device-marks.ts";
import { ChangedDeviceUpdates } from "../rollout/changed-device-updates.ts";
import { StoppedDeviceUpdates } from "../rollout/rollout-observers.ts";
import { ReplacedDevicePositions, RetiredDevicePositions } from "../telemetry/position-writer.ts";
import type { Access } from "./access.ts";
import type { Foundation } from "./foundation.ts";

/** The registry of devices and what is known of them now. */
export type Devices = Awaited<ReturnType<typeof openDevices>>;

/** Opens the device feature. */
export async function openDevices(
  { config, logger, clock, metrics, background, database, idempotency }: Foundation,
  { audit, credentials, enrolmentKeys }: Access,
  opened: AsyncDisposableStack,
) {
  const heartbeatIntervalMs = config.heartbeat.intervalSeconds * 1_000;
  const enrolAgainMs = config.enrolment.againMs;
  const changes = opened.adopt(new DeviceChanges({ database }), (it) => it.close());
  const fleet = opened.use(
    new FleetPresence({
      database,
      clock,
      logger,
      heartbeatIntervalMs,
      versionHistoryDays: config.heartbeat.oneHourRollupDays,
    }),
  );
  await fleet.start(background);
  changes.subscribe(fleet.tracker);
  const facts = opened.use(new ClientFactsWriter({ database, changes, clock, logger }));
  const faults = opened.use(new HeartbeatFaultWriter({ database, clock, logger }));
  const states = new StateWriter({ database, clock, logger, presence: fleet.tracker });
  const checks = opened.use(new CheckWriter({ database, clock, logger, presence: fleet.tracker }));
  const clones = opened.use(
    new CloneWatch({
      database,
      audit,
      changes,
      metrics: metrics.devices,
      clock,
      logger,
      rules: config.clones,
    }),
  );
  const directory = opened.adopt(
    new DeviceDirectory({ database, changes, states, checks, boots: clones, clock, logger }),
    (it) => it.close(),
  );
  for (const { writer } of [facts, faults, states, checks, clones]) background.add(writer);
  const identity = [new ChangedDeviceUpdates(clock, heartbeatIntervalMs), new ReplacedDevicePositions()];
  const enrolment = new DeviceEnrolment({
    database,
    idempotency,
    keys: enrolmentKeys,
    credentials,
    audit,
    changes,
    marks: new DeviceMarks(),
    identity,
    metrics: metrics.devices,
    clock,
    certificates: config.tls?.clients,
    signedTokens: config.deviceJwt,
    retryMs: config.enrolment.retryMs,
  });
  const creation = new DeviceCreation({ database, idempotency, credentials, audit, changes, clock });
  const registry = new DeviceRegistry({
    database,
    credentials,
    audit,
    changes,
    states,
    // The presence log's lock, which all who retire share, comes last.
    retired: [
      new StoppedDeviceUpdates(clock),
      new RetiredDevicePositions(),
      new RetiredPresence({ clock, heartbeatIntervalMs }),
    ],
    identity,
    clock,
    heartbeatIntervalMs,
    enrolAgainMs,
  });
  const reinstatement = new DeviceReinstatement({ database, audit, clock, enrolAgainMs });
  const standings = new DeviceStandings({
    database,
    credentials,
    audit,
    changes,
    blocked: [new StoppedDeviceUpdates(clock)],
    clock,
  });
  const names = config.tls?.clients?.device;
  const certificates = names && opened.use(new DeviceCertificates({ database, changes, clock, names }));
  const keys = opened.use(new DeviceKeys({ database, changes, clock, rules: config.deviceJwt }));
  const tokenRotation = new TokenRotation({ database, credentials, audit, changes });
  const keyReplacement = new DeviceKeyReplacement({
    database,
    idempotency,
    credentials,
    audit,
    changes,
    clock,
    rules: config.deviceJwt,
  });
  const types = new DeviceTypes({ database, audit, changes, clock, logger });
  types.start(background);
  return {
    /** Undefined where no certificates of devices count. */
    certificates,
    keys,
    keyReplacement,
    tokenRotation,
    changes,
    fleet,
    facts,
    faults,
    clones,
    directory,
    enrolment,
    creation,
    registry,
    reinstatement,
    standings,
    types,
    heartbeatIntervalMs,
  };
}
