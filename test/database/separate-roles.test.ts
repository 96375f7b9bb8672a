import { randomBytes } from "node:crypto";
import { expect, inject, it } from "vitest";
import { AccessService } from "../../gen/ota/v1/access_service_pb.js";
import { HeartbeatService } from "../../gen/ota/v1/heartbeat_service_pb.js";
import { EMBEDDED_ROLES } from "../../src/infra/postgres/roles.ts";
import { execute, withDatabase } from "../support/global-setup.ts";
import { PolledDevice } from "../support/polled-device.ts";
import { query } from "../support/postgres.ts";
import { startTestService } from "../support/service.ts";

const serverUrl = inject("databaseUrl");
const { owner } = EMBEDDED_ROLES;

// A server of one's own has other roles.
it.skipIf(inject("serviceUrl") === serverUrl)(
  "a service with an owner to migrate works on a database of that owner's as a role that owns nothing",
  async () => {
    await using database = await ownedDatabase();
    const { ownerUrl, serviceUrl } = database;
    const alone = { databaseUrl: serviceUrl };
    const both = { ...alone, settings: { DEVICE_OTA_MIGRATION_DATABASE_URL: ownerUrl } };

    await expect(startTestService(alone)).rejects.toThrow(
      /may not run them: set DEVICE_OTA_MIGRATION_DATABASE_URL/,
    );
    {
      await using service = await startTestService(both);
      const device = await PolledDevice.enrol(service.client(), service.enrolmentKey);
      await device.beat(service);
      const { heartbeats } = await service
        .client()
        .unary(HeartbeatService.method.listHeartbeats, { deviceId: device.id });
      expect(heartbeats).toHaveLength(1);
      const { events } = await service
        .client()
        .unary(AccessService.method.listAuditEvents, { resourceId: device.id });
      expect(events.map(({ action }) => action)).toEqual(["device.enrol"]);
    }
    const owners =
      "SELECT DISTINCT pg_get_userbyid(relowner) AS name FROM pg_class WHERE relnamespace = 'public'::regnamespace";
    expect(await query(ownerUrl, owners)).toEqual([{ name: owner }]);

    // What somebody granted by hand does not stay, and nothing else is touched.
    const grants =
      "SELECT relname, relacl::text FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1";
    const before = await query(ownerUrl, grants);
    await execute(ownerUrl, `GRANT UPDATE ON audit_events TO ${EMBEDDED_ROLES.service}`);
    await (await startTestService(both))[Symbol.asyncDispose]();
    expect(await query(ownerUrl, grants)).toEqual(before);

    // Migrated, it needs no owner.
    await (await startTestService(alone))[Symbol.asyncDispose]();
  },
);

/** An empty database whose owner is no superuser. */
async function ownedDatabase() {
  const name = `owned_${randomBytes(8).toString("hex")}`;
  await execute(serverUrl, `CREATE DATABASE ${name} OWNER ${owner}`);
  const ownerUrl = new URL(withDatabase(serverUrl, name));
  ownerUrl.username = owner;
  return {
    ownerUrl: ownerUrl.href,
    serviceUrl: withDatabase(inject("serviceUrl"), name),
    [Symbol.asyncDispose]: () => execute(serverUrl, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`),
  };
}
