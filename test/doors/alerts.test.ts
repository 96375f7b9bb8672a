import { randomUUID } from "node:crypto";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Role } from "../../gen/ota/v1/access_pb.js";
import { type Alert, AlertState, type Event } from "../../gen/ota/v1/alert_pb.js";
import { AlertService } from "../../gen/ota/v1/alert_service_pb.js";
import { RemedyAction } from "../../gen/ota/v1/remedy_pb.js";
import { RolloutService } from "../../gen/ota/v1/rollout_service_pb.js";
import { stuckAlert } from "../../src/rollout/model/stuck-alert.ts";
import { enrolDevice, http, mintToken, newContent, publish, refusal } from "../support/door-clients.ts";
import { eventually } from "../support/eventually.ts";
import { execute } from "../support/global-setup.ts";
import { createTestDatabase, type TestDatabase } from "../support/postgres.ts";
import { startTestService, type TestService } from "../support/service.ts";

/** Two replicas on one database, which share their alerts and their events. */

const { method } = AlertService;

let opened: AsyncDisposableStack;
let database: TestDatabase;
let service: TestService;
let other: TestService;
beforeAll(async () => {
  opened = new AsyncDisposableStack();
  const made = opened.use(await createTestDatabase({ partitioned: true }));
  database = made;
  const settings = {
    DEVICE_OTA_REQUIRE_SIGNATURE: "false",
    DEVICE_OTA_AUTO_ROLLBACK_FAILURE_THRESHOLD: "100",
    DEVICE_OTA_ALERT_RESOLVE_SECONDS: "0",
    DEVICE_OTA_ALERT_EXPIRY_DAYS: "1",
    DEVICE_OTA_ALERT_MAX_PER_RULE: "3",
  };
  service = opened.use(await startTestService({ databaseUrl: made.serviceUrl, settings }));
  other = opened.use(await startTestService({ databaseUrl: made.serviceUrl, settings }));
});
afterAll(() => opened[Symbol.asyncDispose]());

/** What fires about something. */
async function firing(resourceId: string, at = service): Promise<Alert[]> {
  const request = { state: AlertState.FIRING, resourceId };
  return (await at.client().unary(method.listAlerts, request)).alerts;
}

async function firingRule(rule: string): Promise<Alert[]> {
  return (await service.client().unary(method.listAlerts, { state: AlertState.FIRING, rule })).alerts;
}

async function rolloutForNobody(): Promise<string> {
  const { id: firmwareId } = await publish(service, newContent(100));
  const { rollout } = await service.client().unary(RolloutService.method.createRollout, {
    firmwareId,
    targeting: { groups: [`g-${randomUUID()}`] },
  });
  const id = rollout?.id ?? "";
  await service.client().unary(RolloutService.method.startRollout, { id });
  return id;
}

/** Follows the feed in a replica until the events about something are those. */
async function follow(at: TestService, cursor: string, resourceIds: Set<string>, until: string) {
  const isLast = ({ type, details }: Event) => type === until && details["rule"] !== "rollout.stuck";
  const seen: Event[] = [];
  let last = cursor;
  for await (const message of at.client().serverStream(method.watchEvents, { cursor })) {
    last = message.cursor;
    seen.push(...message.events.filter(({ resourceId }) => resourceIds.has(resourceId)));
    if (seen.some(isLast)) break;
  }
  return { seen, cursor: last };
}

describe("an alert", () => {
  it("fires once over all replicas, is acknowledged by the first person, and is resolved by itself; each is an event", async () => {
    const rpc = service.client();
    const id = await rolloutForNobody();
    const begin = await eventually(async () => {
      const { events, cursor } = await rpc.unary(method.listEvents, { pageSize: 1_000 });
      const told = events.filter(({ resourceId }) => resourceId === id).map(({ type }) => type);
      expect(told).toContain("rollout.start");
      return cursor;
    });
    await rpc.unary(RolloutService.method.pauseRollout, { id, reason: "a look first" });
    const [alert] = await eventually(async () => {
      const alerts = await firing(id);
      expect(alerts.filter(({ rule }) => rule !== "rollout.stuck")).toMatchObject([
        { rule: "rollout.paused", key: `rollout.paused/${id}`, resourceType: "rollout", acknowledger: "" },
      ]);
      return alerts.filter(({ rule }) => rule === "rollout.paused");
    });
    expect(alert?.summary).toContain("a look first");
    expect((await firing(id, other)).map((each) => each.id)).toContain(alert?.id);

    const alertId = alert?.id ?? "";
    const operator = await mintToken(service, Role.OPERATOR);
    const path = `/api/v1/alerts/${alertId}:acknowledge`;
    const acknowledged = await http(other, "POST", path, { token: operator.secret, body: { note: "mine" } });
    expect(acknowledged.body.alert).toMatchObject({
      acknowledger: `operator:${operator.name}`,
      acknowledgementNote: "mine",
      state: "ALERT_STATE_FIRING",
    });
    const again = await rpc.unary(method.acknowledgeAlert, { id: alertId, note: "no, mine" });
    expect(again.alert).toMatchObject({ acknowledgementNote: "mine" });
    const unseen = await rpc.unary(method.listAlerts, { rule: "rollout.paused", unacknowledged: true });
    expect(unseen.alerts).toEqual([]);
    const seen = await rpc.unary(method.listAlerts, { state: AlertState.FIRING, acknowledged: true });
    expect(seen.alerts.map((each) => each.id)).toEqual([alertId]);
    expect(seen.acknowledgedCount).toBe(1);
    expect(await refusal(rpc.unary(method.acknowledgeAlert, { id: randomUUID() }))).toMatchObject({
      reason: "NOT_FOUND",
    });

    const about = new Set([id, alertId]);
    const first = await follow(service, begin, about, "alert.acknowledge");
    await rpc.unary(RolloutService.method.resumeRollout, { id });
    const second = await follow(other, first.cursor, about, "alert.resolved");
    expect((await firing(id)).filter(({ rule }) => rule === "rollout.paused")).toEqual([]);
    // That it is for no device is another alert, which may fire in between.
    const isStuck = ({ type, details }: Event) =>
      type === "rollout.stuck" || details["rule"] === "rollout.stuck";
    const all = [...first.seen, ...second.seen].filter((event) => !isStuck(event));
    expect(all.map(({ type }) => type)).toEqual([
      "rollout.pause",
      "alert.firing",
      "alert.acknowledge",
      "rollout.resume",
      "alert.resolved",
    ]);
    expect(all[0]).toMatchObject({ summary: "a look first", resourceType: "rollout" });
    expect(all[1]?.details).toMatchObject({ alert_id: alertId, rule: "rollout.paused" });
    expect(new Set(all.map((event) => event.id)).size).toBe(5);
  });

  it("fires by each rule of what the database holds, and no more of one rule than the setting says", async () => {
    const id = await rolloutForNobody();
    await execute(
      database.url,
      `UPDATE deployment_rings SET began_count = 20, failed_count = 2, missing_count = 1, drifted_count = 1
        WHERE rollout_id = '${id}' AND position = 0;
       UPDATE enrolment_keys SET created_at = now() - interval '9 days', expires_at = now() + interval '9 hours'`,
    );
    const devices = await Promise.all(Array.from({ length: 10 }, () => enrolDevice(service)));
    const ids = devices.map((device) => `'${device.id}'`).join(", ");
    await execute(
      database.url,
      `UPDATE devices SET clone_suspected_at = now() WHERE id IN (${ids});
       INSERT INTO device_state (device_id, last_seen_at, epoch, last_sequence, firmware_version, boot_id, uptime_ms, security_counter)
         SELECT id, now() - interval '1 day', 1, 1, '1.0.0', 'b', 1, 0 FROM devices WHERE id IN (${ids})
         ON CONFLICT (device_id) DO UPDATE SET last_seen_at = excluded.last_seen_at`,
    );
    const group = (
      title: string,
      more: string,
    ) => `INSERT INTO error_groups (id, fingerprint, fingerprint_version, state, title, code,
      severity, fatal, stack_kind, occurrence_count, device_count, first_seen_at, last_seen_at, first_seen_version, last_seen_version, regressed_at)
      VALUES (gen_random_uuid(), '${randomUUID()}', 1, 'open', '${title}', '', 'critical', true, 'text', 1, 1, ${more})`;
    await execute(database.url, group("new one", "now(), now(), '1.0.0', '1.0.0', NULL"));
    await execute(
      database.url,
      group("old one", "now() - interval '9 days', now(), '1.0.0', '1.1.0', now()"),
    );
    await eventually(async () => {
      const { alerts } = await service.client().unary(method.listAlerts, { state: AlertState.FIRING });
      const rules = alerts.map(({ rule }) => rule).filter((rule) => rule !== "rollout.stuck");
      expect(rules.toSorted()).toEqual([
        "crash.new",
        "crash.regression",
        "device.clone",
        "device.clone",
        "device.clone",
        "fleet.offline",
        "key.expires",
        "rollout.devices_missing",
        "rollout.drift",
        "rollout.failure_rate",
      ]);
    });
    expect((await firingRule("rollout.failure_rate"))[0]?.summary).toContain("2 of 20 devices");
    expect((await firingRule("crash.regression"))[0]?.summary).toContain("old one");
  });

  it("fires for a rollout that cannot go on by itself as such, and not for something else about it", async () => {
    const id = await rolloutForNobody();
    await eventually(async () =>
      expect((await firing(id)).map(({ rule }) => rule)).toEqual(["rollout.stuck"]),
    );
    const [alert] = await firing(id);
    expect(alert?.summary).toContain(stuckAlert(""));
    expect(alert?.remedies.map(({ action }) => action)).toEqual([
      RemedyAction.ENROL_DEVICES,
      RemedyAction.ABORT,
    ]);
  });

  it("fires once for a rollout that waits for an approval, and says who can give it", async () => {
    const rpc = service.client();
    const { id: firmwareId } = await publish(service, newContent(100));
    const { rollout } = await rpc.unary(RolloutService.method.createRollout, {
      firmwareId,
      rings: [{ name: "all", percent: 100, gate: { requireApproval: true } }],
    });
    const id = rollout?.id ?? "";
    await rpc.unary(RolloutService.method.startRollout, { id });
    await eventually(async () => {
      const alerts = await firing(id);
      expect(alerts).toMatchObject([
        {
          rule: "rollout.awaits_approval",
          remedies: [{ action: RemedyAction.APPROVE, rolloutId: id, ring: "all" }],
        },
      ]);
    });
    await rpc.unary(RolloutService.method.abortRollout, { id });
  });

  it("fires before a signing key in use ends, and before the newest root or targets of a product do", async () => {
    const { id: firmwareId } = await publish(service, newContent(100));
    await execute(
      database.url,
      `INSERT INTO signing_keys (id, name, algorithm, public_key_pem, created_at, expires_at)
         SELECT key, key, 'ed25519', '', now() - interval '9 days', now() + interval '9 hours' FROM unnest(ARRAY['used', 'unused']) key;
       INSERT INTO firmware_signatures (id, firmware_id, key_id, algorithm, signature)
         VALUES (gen_random_uuid(), '${firmwareId}', 'used', 'ed25519', '');
       INSERT INTO tuf_metadata (product, role, version, content, created_at, expires_at) VALUES
         ('pump', 'root', 1, '', now() - interval '9 days', now() + interval '9 hours'),
         ('pump', 'targets', 1, '', now() - interval '9 days', now() + interval '8 hours'),
         ('pump', 'targets', 2, '', now() - interval '9 days', now() + interval '9 days'),
         ('pump', 'timestamp', 1, '', now() - interval '9 days', now() + interval '7 hours')`,
    );
    const told = async () =>
      (await firingRule("key.expires"))
        .filter(({ resourceType }) => ["signing_key", "tuf_repository"].includes(resourceType))
        .map(({ summary }) => summary.replace(/ ends at .*/, ""))
        .toSorted();
    await eventually(async () =>
      expect(await told()).toEqual(["the TUF root of pump", "the signing key used"]),
    );
    await execute(
      database.url,
      "INSERT INTO tuf_metadata (product, role, version, content, expires_at) VALUES ('pump', 'root', 2, '', now() + interval '9 days')",
    );
    await eventually(async () => expect(await told()).toEqual(["the signing key used"]));
  });

  it("fires when a replica cannot write to its store", async () => {
    const folder = join(other.dataDir, "storage");
    await rm(folder, { recursive: true });
    await writeFile(folder, "no folder");
    await eventually(async () => expect(await firingRule("store.down")).toHaveLength(1));
    await rm(folder);
    await eventually(async () => expect(await firingRule("store.down")).toHaveLength(0));
  });
});

describe("the feed of events", () => {
  it("numbers without gaps what many transactions write at once, and tells both replicas the same", async () => {
    const ids: string[] = [];
    for (let each = 0; each < 8; each++) ids.push(await rolloutForNobody());
    // More at once than there are connections: on a busy machine some are told to try again.
    await Promise.all(
      ids.map((id, index) =>
        eventually(() =>
          (index % 2 === 0 ? service : other)
            .client()
            .unary(RolloutService.method.abortRollout, { id, reason: "no" }),
        ),
      ),
    );
    await eventually(async () => {
      const [here, there] = await Promise.all(
        [service, other].map((each) => each.client().unary(method.listEvents, { pageSize: 1_000 })),
      );
      const aborted = here?.events.filter(
        ({ type, resourceId }) => type === "rollout.abort" && ids.includes(resourceId),
      );
      expect(aborted).toHaveLength(8);
      expect(here?.events.map(({ cursor }) => Number(cursor))).toEqual(
        here?.events.map((_, index) => index + 1),
      );
      expect(there?.events.slice(0, here?.events.length)).toEqual(
        here?.events.slice(0, there?.events.length),
      );
    });
  });

  it("refuses a cursor whose events are kept no more, one that is ahead of all, and one that is none", async () => {
    const rpc = service.client();
    await execute(database.url, "DELETE FROM fleet_events WHERE sequence <= 2");
    const reasonAt = async (cursor: string) =>
      (await refusal(rpc.unary(method.listEvents, { cursor }))).reason;
    expect(await reasonAt("1")).toBe("CURSOR_EXPIRED");
    expect(await reasonAt("99999999")).toBe("CURSOR_EXPIRED");
    expect(await reasonAt("-1")).toBe("INVALID_REQUEST");
    expect((await rpc.unary(method.listEvents, { cursor: "2", pageSize: 1 })).events).toHaveLength(1);
    expect((await rpc.unary(method.listEvents, { pageSize: 1 })).events[0]?.cursor).toBe("3");
    const watch = rpc.serverStream(method.watchEvents, { cursor: "1" });
    expect((await refusal(watch.next())).reason).toBe("CURSOR_EXPIRED");
  });

  it("tells those who watch that the database was put back to before what they have seen", async () => {
    const { events } = await service.client().unary(method.listEvents, { cursor: "2", pageSize: 1_000 });
    const watch = service
      .client()
      .serverStream(method.watchEvents, { cursor: events.at(-1)?.cursor ?? "" })
      [Symbol.asyncIterator]();
    await watch.next();
    await execute(
      database.url,
      "DELETE FROM fleet_events WHERE sequence > (SELECT max(sequence) - 5 FROM fleet_events)",
    );
    // What happened before that may still come first.
    const further = async () => {
      while ((await watch.next()).done !== true);
    };
    expect((await refusal(further())).reason).toBe("CURSOR_EXPIRED");
  });
});
