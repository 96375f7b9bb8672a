import { createHmac, randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { WebhookDeliveryState, WebhookFormat } from "../../gen/ota/v1/alert_webhook_pb.js";
import { WebhookService } from "../../gen/ota/v1/alert_webhook_service_pb.js";
import { FirmwareService } from "../../gen/ota/v1/firmware_service_pb.js";
import { firingAbout } from "../support/alerts.ts";
import { createFirmware, http, newContent, refusal } from "../support/door-clients.ts";
import { eventually } from "../support/eventually.ts";
import { startTestService, type TestService } from "../support/service.ts";
import { type ReceivedMessage, WebhookReceiver } from "../support/webhook-receiver.ts";

const { method } = WebhookService;

let opened: AsyncDisposableStack;
let service: TestService;
let receiver: WebhookReceiver;
beforeAll(async () => {
  opened = new AsyncDisposableStack();
  receiver = opened.use(await WebhookReceiver.start());
  service = opened.use(
    await startTestService({
      settings: {
        DEVICE_OTA_WEBHOOK_ALLOW_PRIVATE: "true",
        DEVICE_OTA_WEBHOOK_RETRY_SECONDS: "0.1",
        DEVICE_OTA_WEBHOOK_GIVE_UP_HOURS: "0.003",
        DEVICE_OTA_WEBHOOK_TIMEOUT_SECONDS: "60",
        DEVICE_OTA_WEBHOOK_MAX: "6",
        DEVICE_OTA_ALERT_RESOLVE_SECONDS: "0",
      },
    }),
  );
});
afterAll(() => opened[Symbol.asyncDispose]());

async function makeWebhook(path: string, more: { eventTypes?: string[]; format?: WebhookFormat } = {}) {
  const { webhook, secret } = await service.client().unary(method.createWebhook, {
    name: `hook ${randomUUID()}`,
    url: receiver.url(path),
    eventTypes: ["nothing"],
    ...more,
  });
  return { id: webhook?.id ?? "", secret };
}

/** As Standard Webhooks sign a message. */
function signatureOf(message: Pick<ReceivedMessage, "headers" | "body"> | undefined, secret: string): string {
  const { headers = {}, body } = message ?? {};
  const key = Buffer.from(secret.replace(/^whsec_/, ""), "base64");
  const signed = `${String(headers["webhook-id"])}.${String(headers["webhook-timestamp"])}.${body}`;
  return createHmac("sha256", key).update(signed).digest("base64");
}

async function deliveries(id: string) {
  return (await service.client().unary(method.listWebhookDeliveries, { id })).deliveries;
}

describe("a webhook", () => {
  it("is told of the events that it is for, each once, signed by its secret, which is shown once", async () => {
    const { id, secret } = await makeWebhook("/signed", { eventTypes: ["firmware.create", "firmware.del*"] });
    const firmware = await createFirmware(service.client(), newContent(100));
    await service.client().unary(FirmwareService.method.deleteFirmware, { id: firmware.id });
    await eventually(() => expect(receiver.at("/signed")).toHaveLength(2));
    const messages = receiver.at("/signed");
    expect(messages.map(({ json }) => json.type)).toEqual([
      "ota.v1.firmware.create",
      "ota.v1.firmware.delete",
    ]);
    for (const { headers, body, json } of messages) {
      expect(headers["content-type"]).toBe("application/cloudevents+json");
      expect(json).toMatchObject({
        specversion: "1.0",
        id: headers["webhook-id"],
        source: "urn:device-ota",
        subject: `firmware/${firmware.id}`,
        data: { resource_id: firmware.id, details: { actor: expect.stringContaining("operator:") } },
      });
      expect(headers["webhook-signature"]).toBe(`v1,${signatureOf({ headers, body }, secret)}`);
    }
    await eventually(async () => {
      expect((await deliveries(id)).map(({ state }) => state)).toEqual([
        WebhookDeliveryState.DELIVERED,
        WebhookDeliveryState.DELIVERED,
      ]);
    });
    const shown = await http(service, "GET", "/api/v1/webhooks", { token: service.adminToken });
    expect(JSON.stringify(shown.body)).not.toContain(secret.replace(/^whsec_/, ""));
    const rotated = await service.client().unary(method.updateWebhook, { id, rotateSecret: true });
    expect(rotated.secret).toMatch(/^whsec_.{43,}/);
    expect(rotated.secret).not.toBe(secret);
  });

  it("that is made again by the same request is the same one, with a fresh secret", async () => {
    const rpc = service.client();
    const request = { requestId: randomUUID(), name: "made twice", url: receiver.url("/twice") };
    const [first, second] = [
      await rpc.unary(method.createWebhook, { ...request, eventTypes: ["nothing"] }),
      await rpc.unary(method.createWebhook, { ...request, eventTypes: ["nothing"] }),
    ];
    expect(second.webhook).toEqual(first.webhook);
    expect(second.secret).not.toBe(first.secret);
    const { id = "" } = second.webhook ?? {};
    await rpc.unary(method.testWebhook, { id });
    await eventually(() => expect(receiver.at("/twice")).toHaveLength(1));
    const [message] = receiver.at("/twice");
    expect(message?.headers["webhook-signature"]).toBe(`v1,${signatureOf(message, second.secret)}`);
    expect(await refusal(rpc.unary(method.createWebhook, request))).toMatchObject({
      reason: "REQUEST_ID_REUSED",
    });
    await rpc.unary(method.deleteWebhook, { id });
  });

  it("is tried again with the same id after an error and after a redirect, which nobody follows", async () => {
    const { id } = await makeWebhook("/again", { format: WebhookFormat.SLACK });
    receiver.answer = ({ path }, response) => {
      const count = receiver.at(path).length;
      if (path === "/again" && count === 1) response.writeHead(500).end();
      else if (path === "/again" && count === 2)
        response.writeHead(302, { location: receiver.url("/elsewhere") }).end();
      else response.writeHead(200).end("ok");
    };
    const { eventId } = await service.client().unary(method.testWebhook, { id });
    await eventually(async () => {
      expect(await deliveries(id)).toMatchObject([
        { eventId, eventType: "webhook.test", state: WebhookDeliveryState.DELIVERED, attemptCount: 3 },
      ]);
    });
    const tries = receiver.at("/again");
    expect(new Set(tries.map(({ headers }) => headers["webhook-id"]))).toEqual(new Set([eventId]));
    expect(tries[0]?.json.text).toMatch(/^\[webhook\.test\] a test of the webhook hook/);
    expect(receiver.at("/elsewhere")).toEqual([]);
  });

  it("that takes nothing for long ends in dead letters, which are an alert until one arrives, and are replayed; one that never answers holds up nobody", async () => {
    const silent = await makeWebhook("/silent");
    const down = await makeWebhook("/down");
    const well = await makeWebhook("/well");
    let isDown = true;
    receiver.answer = ({ path }, response) => {
      if (path === "/silent") return;
      response.writeHead(path === "/down" && isDown ? 410 : 204).end();
    };
    const rpc = service.client();
    for (let each = 0; each < 6; each++) await rpc.unary(method.testWebhook, { id: silent.id });
    const { eventId } = await rpc.unary(method.testWebhook, { id: down.id });
    await rpc.unary(method.testWebhook, { id: well.id });
    await eventually(() => expect(receiver.at("/well")).toHaveLength(1));
    await eventually(async () => {
      expect(await deliveries(down.id)).toMatchObject([
        { eventId, state: WebhookDeliveryState.DEAD, outcome: "the receiver answered 410" },
      ]);
    });
    await eventually(async () =>
      expect(await firingAbout(rpc, down.id)).toEqual([
        {
          rule: "webhook.undelivered",
          summary: expect.stringMatching(/a delivery is a dead letter, .*: the receiver answered 410$/),
        },
      ]),
    );
    // Of one webhook only a quarter is under way at once.
    expect(receiver.at("/silent")).toHaveLength(4);
    const tries = receiver.at("/down").length;
    expect(tries).toBeGreaterThan(2);
    isDown = false;
    const later = await rpc.unary(method.testWebhook, { id: down.id });
    await eventually(async () => {
      expect(await deliveries(down.id)).toMatchObject([
        { eventId: later.eventId, state: WebhookDeliveryState.DELIVERED },
        { eventId, state: WebhookDeliveryState.DEAD },
      ]);
      expect(await firingAbout(rpc, down.id)).toEqual([]);
    });
    const replayed = await rpc.unary(method.replayDeadLetters, { id: down.id });
    expect(replayed.replayedCount).toBe(1n);
    await eventually(async () => {
      expect(await deliveries(down.id)).toMatchObject([
        { eventId: later.eventId, state: WebhookDeliveryState.DELIVERED },
        { eventId, state: WebhookDeliveryState.DELIVERED },
      ]);
    });
    expect(receiver.at("/down")).toHaveLength(tries + 2);
    expect((await rpc.unary(method.replayDeadLetters, { id: down.id })).replayedCount).toBe(0n);

    await rpc.unary(method.deleteWebhook, { id: silent.id });
    expect(await refusal(rpc.unary(method.testWebhook, { id: silent.id }))).toMatchObject({
      reason: "NOT_FOUND",
    });
  });

  it("is refused for a URL of another kind, for a name that is taken, and past the most that the setting allows", async () => {
    const rpc = service.client();
    const make = (name: string, url: string) => refusal(rpc.unary(method.createWebhook, { name, url }));
    expect(await make("a", "ftp://example.com/")).toMatchObject({
      reason: "WEBHOOK_URL_REFUSED",
      fields: ["url"],
    });
    expect(await make("a", "mailto:ops@example.com")).toMatchObject({ reason: "EMAIL_NOT_SET_UP" });
    const [first] = (await rpc.unary(method.listWebhooks, {})).webhooks;
    expect(await make(first?.name ?? "", receiver.url())).toMatchObject({ reason: "DUPLICATE" });
    for (let count = (await rpc.unary(method.listWebhooks, {})).webhooks.length; count < 6; count++)
      await makeWebhook("/more");
    expect(await make("seventh", receiver.url())).toMatchObject({ reason: "TOO_MANY_WEBHOOKS" });
  });
});
