import { expect, it } from "vitest";
import { AlertState } from "../../gen/ota/v1/alert_pb.js";
import { AlertService } from "../../gen/ota/v1/alert_service_pb.js";
import { WebhookDeliveryState } from "../../gen/ota/v1/alert_webhook_pb.js";
import { WebhookService } from "../../gen/ota/v1/alert_webhook_service_pb.js";
import { RpcClient } from "../../src/client/rpc-client.ts";
import { registerKey } from "../support/door-clients.ts";
import { eventually } from "../support/eventually.ts";
import { FaultProxy } from "../support/fault-proxy.ts";
import { MailServer } from "../support/mail-server.ts";
import { createTestDatabase, query } from "../support/postgres.ts";
import { startTestService } from "../support/service.ts";
import { WebhookReceiver } from "../support/webhook-receiver.ts";
import { ServiceProcess } from "./service-process.ts";

const { method } = WebhookService;

it("a replica that is killed while it delivers loses nothing: another one delivers all of it, under the same ids", async () => {
  await using database = await createTestDatabase({ partitioned: true });
  await using receiver = await WebhookReceiver.start();
  await using mails = await MailServer.start();
  const settings = {
    DEVICE_OTA_WEBHOOK_ALLOW_PRIVATE: "true",
    DEVICE_OTA_WEBHOOK_TIMEOUT_SECONDS: "5",
    DEVICE_OTA_SMTP_HOST: "127.0.0.1",
    DEVICE_OTA_SMTP_PORT: String(mails.port),
    DEVICE_OTA_SMTP_TLS: "off",
    DEVICE_OTA_SMTP_FROM: "ota@example.com",
    DEVICE_OTA_SMTP_TIMEOUT_SECONDS: "5",
    DEVICE_OTA_EMAIL_GATHER_SECONDS: "1",
  };
  await using first = await ServiceProcess.start(database.url, settings);
  receiver.answer = () => undefined;
  // The mail that is under way when the replica dies.
  let cut = "";
  mails.content = ({ headers }) => {
    cut = headers["message-id"] ?? "";
    return "silent";
  };
  const eventIds: string[] = [];
  let id: string;
  let mailed: string;
  {
    using rpc = new RpcClient({ address: first.grpcAddress, token: first.adminToken });
    const made = await rpc.unary(method.createWebhook, {
      name: "receiver",
      url: receiver.url(),
      eventTypes: ["nothing"],
    });
    id = made.webhook?.id ?? "";
    for (let each = 0; each < 8; each++) eventIds.push((await rpc.unary(method.testWebhook, { id })).eventId);
    await eventually(() => expect(receiver.received.length).toBeGreaterThan(0));
    const mailer = await rpc.unary(method.createWebhook, {
      name: "mailer",
      url: "mailto:ops@example.com",
      eventTypes: ["nothing"],
    });
    mailed = mailer.webhook?.id ?? "";
    await rpc.unary(method.testWebhook, { id: mailed });
    await eventually(() => expect(cut).not.toBe(""));
  }
  await first.signal("SIGKILL");
  const before = receiver.received.length;
  receiver.answer = (_, response) => void response.writeHead(204).end();
  mails.content = () => undefined;

  await using second = await startTestService({ databaseUrl: database.url, settings });
  await eventually(async () => {
    const { deliveries } = await second.client().unary(method.listWebhookDeliveries, { id });
    expect(deliveries.map(({ eventId }) => eventId).toSorted()).toEqual(eventIds.toSorted());
    expect(deliveries.every(({ state }) => state === WebhookDeliveryState.DELIVERED)).toBe(true);
  });
  const after = receiver.received.slice(before).map(({ headers }) => String(headers["webhook-id"]));
  expect(after.toSorted()).toEqual(eventIds.toSorted());

  await eventually(async () => {
    const { deliveries } = await second.client().unary(method.listWebhookDeliveries, { id: mailed });
    expect(deliveries).toMatchObject([{ state: WebhookDeliveryState.DELIVERED, attemptCount: 2 }]);
  });
  expect(mails.received.map(({ headers }) => headers["message-id"])).toEqual([cut]);
});

it("a receiver that is away for a day costs few tries and holds up nobody; it is told of, and gets all of it once", async () => {
  const keys = 6;
  await using receiver = await WebhookReceiver.start();
  await using line = await FaultProxy.start(new URL(receiver.url()).host);
  const settings = { DEVICE_OTA_WEBHOOK_ALLOW_PRIVATE: "true", DEVICE_OTA_ALERT_RESOLVE_SECONDS: "0" };
  await using service = await startTestService({ settings });
  const rpc = service.client();
  const make = async (name: string, url: string, eventType: string) =>
    (await rpc.unary(method.createWebhook, { name, url, eventTypes: [eventType] })).webhook?.id ?? "";
  const id = await make("away", `http://${line.address}/away`, "signing_key.*");
  await make("there", receiver.url("/there"), "signing_key.*");
  await make("alerts", receiver.url("/alerts"), "alert.*");
  line.refuse();
  for (let each = 0; each < keys; each++) await registerKey(rpc);

  for (let hour = 0; hour < 24; hour++) {
    await query(
      service.databaseUrl,
      "UPDATE webhook_deliveries SET due_at = due_at - interval '1 hour', since = since - interval '1 hour'",
    );
    await untilTried(service.databaseUrl);
  }
  const { deliveries } = await rpc.unary(method.listWebhookDeliveries, { id });
  expect(deliveries).toHaveLength(keys);
  for (const { state, attemptCount, outcome } of deliveries) {
    expect(WebhookDeliveryState[state]).toBe("PENDING");
    expect(attemptCount).toBeLessThan(2 * 24 + 10);
    expect(outcome).not.toBe("");
  }
  await eventually(() => expect(receiver.at("/there")).toHaveLength(keys));
  const firing = async () => {
    const { alerts } = await rpc.unary(AlertService.method.listAlerts, {});
    return alerts.filter(({ state }) => state === AlertState.FIRING);
  };
  await eventually(async () =>
    expect(await firing()).toMatchObject([{ rule: "webhook.undelivered", resourceId: id }]),
  );
  await eventually(() =>
    expect(receiver.at("/alerts")).toMatchObject([{ json: { type: "ota.v1.alert.firing" } }]),
  );

  line.heal();
  await query(service.databaseUrl, "UPDATE webhook_deliveries SET due_at = due_at - interval '1 hour'");
  await eventually(() => expect(receiver.at("/away")).toHaveLength(keys));
  await eventually(async () => expect(await firing()).toEqual([]));
  const ids = (path: string) => receiver.at(path).map(({ headers }) => String(headers["webhook-id"]));
  expect(ids("/away").toSorted()).toEqual(ids("/there").toSorted());
}, 180_000);

/** Waits until nothing is due: all that was has been tried. */
async function untilTried(databaseUrl: string): Promise<void> {
  await eventually(async () => {
    const due = await query(
      databaseUrl,
      "SELECT event_id FROM webhook_deliveries WHERE state = 'PENDING' AND (due_at <= now() OR outcome = '')",
    );
    expect(due).toEqual([]);
  });
}
