import { randomUUID } from "node:crypto";
import { expect, test } from "vitest";
import { TokenUses } from "../../src/access/token-uses.ts";
import { CheckWriter } from "../../src/device/state/check-writer.ts";
import { ClientFactsWriter } from "../../src/device/state/client-facts-writer.ts";
import { StateWriter } from "../../src/device/state/state-writer.ts";
import type { BatchWriter } from "../../src/infra/background/batch-writer.ts";
import { MetricCatalogue } from "../../src/telemetry/metric-catalogue.ts";
import { PositionWriter } from "../../src/telemetry/position-writer.ts";
import { type AccessReplica, silent, startAccess } from "../access/access-fixture.ts";
import { heartbeatOf } from "./device-fixture.ts";

/** A writer, how a device's row comes to it, and where it is found again. */
interface Case {
  readonly writer: Pick<BatchWriter<never>, "close" | "flush" | "log">;
  add(deviceId: string, poisoned: boolean): void;
  /** Selects the ids of the devices whose row was written. */
  readonly stored: string;
}

/** PostgreSQL stores it in no text. */
const nul = "nul\u0000";

const cases: Readonly<Record<string, (replica: AccessReplica) => Case>> = {
  "the states of devices": ({ database, clock }) => {
    const states = new StateWriter({ database, clock, logger: silent });
    return {
      writer: states.writer,
      add: (deviceId, poisoned) =>
        states.add(heartbeatOf(deviceId, 1, { bootId: poisoned ? nul : "boot-1" })),
      stored: "SELECT device_id AS id FROM device_state",
    };
  },
  "what devices say when they ask for updates": ({ database, clock }) => {
    const checks = new CheckWriter({ database, clock, logger: silent });
    return {
      writer: checks.writer,
      add: (deviceId, poisoned) =>
        checks.add({
          deviceId,
          receivedAt: clock.now(),
          firmwareVersion: "1.0.0",
          bootId: poisoned ? nul : "boot-1",
          securityCounter: 0,
        }),
      stored: "SELECT device_id AS id FROM device_state",
    };
  },
  "what devices say of their clients": ({ database, clock }) => {
    const facts = new ClientFactsWriter({
      database,
      changes: { publishUpdates: () => undefined },
      clock,
      logger: silent,
    });
    return {
      writer: facts.writer,
      add: (deviceId, poisoned) =>
        facts.streamOpened({
          deviceId,
          agentVersion: poisoned ? nul : "1.0.0",
          capabilities: [],
          clockQuality: "ntp",
          heartbeatIntervalMs: undefined,
        }),
      stored: "SELECT id FROM devices WHERE reported ? 'agentVersion'",
    };
  },
  "the positions of devices": ({ database, clock }) => {
    const positions = new PositionWriter({ pool: database.pool, clock, logger: silent });
    return {
      writer: positions.writer,
      // More than the column's type can hold.
      add: (deviceId, poisoned) =>
        positions.observe([
          heartbeatOf(deviceId, 1, { latitude: 1, longitude: 1, accuracyMeters: poisoned ? 1e39 : 5 }),
        ]),
      stored: "SELECT device_id AS id FROM device_positions",
    };
  },
  "the catalogue of metrics": ({ database, clock }) => {
    const catalogue = new MetricCatalogue({
      pool: database.pool,
      clock,
      logger: silent,
      overflow: { inc: () => undefined },
    });
    return {
      writer: catalogue.writer,
      add: (deviceId, poisoned) =>
        catalogue.observe([heartbeatOf(deviceId, 1, { metrics: { [poisoned ? nul : deviceId]: 1 } })]),
      stored: "SELECT name AS id FROM device_metrics",
    };
  },
};

test.each(Object.entries(cases))("a device spoils no other's row: %s", async (_, caseOf) => {
  await using replica = await startAccess();
  const { adminPool } = replica.database;
  const { rows } = await adminPool.query<{ id: string }>(
    `INSERT INTO devices (id, serial_number, device_type, hardware_model)
     SELECT gen_random_uuid(), 'sn-' || n, 'thermostat', 'tx-200' FROM generate_series(1, 300) n RETURNING id`,
  );
  const ids = rows.map(({ id }) => id);
  const poisoned = new Set([ids[0], ids[137], ids[138], ids[299]]);
  const tried = caseOf(replica);
  const { writer, stored } = tried;
  for (const id of ids) tried.add(id, poisoned.has(id));
  await writer.flush();

  const found = await adminPool.query<{ id: string }>(stored);
  expect(found.rows.map(({ id }) => id).toSorted()).toEqual(ids.filter((id) => !poisoned.has(id)).toSorted());
  expect(writer.log.rows).toMatchObject({ waiting: 0, written: 296, refused: 4, lost: 0 });
  await writer.close();
});

test("a use of a token that cannot be noted holds no other up", async () => {
  await using replica = await startAccess();
  const { database, clock, tokens } = replica;
  const { token } = await tokens.create({
    actor: "operator:root",
    requestId: undefined,
    name: "ada",
    role: "viewer",
    expiresAt: undefined,
  });
  const uses = new TokenUses({ database, clock, logger: silent });
  uses.used(token.id);
  uses.used("no id");
  uses.used(randomUUID());
  await uses.close();
  expect(uses.writer.log.rows).toMatchObject({ waiting: 0, refused: 1 });
  const found = await database.adminPool.query("SELECT last_used_at FROM operator_tokens WHERE id = $1", [
    token.id,
  ]);
  expect(found.rows).toEqual([{ last_used_at: clock.now() }]);
});
