import { expect, it } from "vitest";
import { WebhookDeliveryState } from "../../gen/ota/v1/alert_webhook_pb.js";
import { WebhookService } from "../../gen/ota/v1/alert_webhook_service_pb.js";
import { RpcClient } from "../../src/client/rpc-client.ts";
import { eventually } from "../support/eventually.ts";
import { MailServer } from "../support/mail-server.ts";
import { createTestDatabase } from "../support/postgres.ts";
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
