import { randomUUID } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { WebhookDeliveryState, WebhookFormat } from "../../gen/ota/v1/alert_webhook_pb.js";
import { WebhookService } from "../../gen/ota/v1/alert_webhook_service_pb.js";
import { RolloutService } from "../../gen/ota/v1/rollout_service_pb.js";
import { firingAbout } from "../support/alerts.ts";
import { TestAuthority } from "../support/certificates.ts";
import { newContent, publish, refusal } from "../support/door-clients.ts";
import { eventually } from "../support/eventually.ts";
import { execute } from "../support/global-setup.ts";
import { MailServer, type MailServerOptions } from "../support/mail-server.ts";
import { createTestDatabase, type TestDatabase } from "../support/postgres.ts";
import { startTestService, type TestService } from "../support/service.ts";

const { method } = WebhookService;
const { DELIVERED, DEAD, PENDING } = WebhookDeliveryState;

let opened: AsyncDisposableStack;
let database: TestDatabase;
let service: TestService;
let certified: MailServerOptions;
let mails: MailServer;
beforeAll(async () => {
  opened = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), "device-ota-mails-"));
  opened.defer(() => rm(folder, { recursive: true, force: true }));
  const authority = await TestAuthority.create("mail authority");
  const pair = await authority.issue({
    subject: [{ CN: ["localhost"] }],
    names: [{ type: "dns", value: "localhost" }],
    usage: "serverAuth",
  });
  certified = { pair, password: "sesame" };
  mails = await MailServer.start(certified);
  opened.defer(() => mails[Symbol.asyncDispose]());
  await writeFile(join(folder, "ca.pem"), authority.pem);
  await writeFile(join(folder, "password"), "sesame\n");
  const made = opened.use(await createTestDatabase({ partitioned: true }));
  database = made;
  service = opened.use(
    await startTestService({
      databaseUrl: made.serviceUrl,
      settings: {
        DEVICE_OTA_REQUIRE_SIGNATURE: "false",
        DEVICE_OTA_ALERT_RESOLVE_SECONDS: "0",
        DEVICE_OTA_WEBHOOK_RETRY_SECONDS: "0.1",
        DEVICE_OTA_SMTP_HOST: "localhost",
        DEVICE_OTA_SMTP_PORT: String(mails.port),
        DEVICE_OTA_SMTP_CA_FILE: join(folder, "ca.pem"),
        DEVICE_OTA_SMTP_USER: "ota",
        DEVICE_OTA_SMTP_PASSWORD_FILE: join(folder, "password"),
        DEVICE_OTA_SMTP_FROM: "Device OTA <ota@example.com>",
        DEVICE_OTA_EMAIL_GATHER_SECONDS: "1",
        DEVICE_OTA_EMAIL_MAX_EVENTS: "400",
        DEVICE_OTA_PUBLIC_URL: "https://ota.example.com/",
      },
    }),
  );
});
afterAll(() => opened[Symbol.asyncDispose]());

/** A webhook for an address that nobody else has. */
async function makeMailer(eventTypes: string[] = ["nothing"]) {
  const address = `${randomUUID()}@example.com`;
  const { webhook, secret } = await service
    .client()
    .unary(method.createWebhook, { name: address, url: `mailto:${address}`, eventTypes });
  expect(secret).toBe("");
  expect(webhook).toMatchObject({ format: WebhookFormat.EMAIL, url: `mailto:${address}` });
  return { id: webhook?.id ?? "", address };
}

async function deliveries(id: string) {
  return (await service.client().unary(method.listWebhookDeliveries, { id, pageSize: 1_000 })).deliveries;
}

async function test(id: string): Promise<string> {
  return (await service.client().unary(method.testWebhook, { id })).eventId;
}

async function pauseRollout(): Promise<string> {
  const rpc = service.client();
  const { id: firmwareId } = await publish(service, newContent(100));
  const targeting = { groups: [`g-${randomUUID()}`] };
  const { rollout } = await rpc.unary(RolloutService.method.createRollout, { firmwareId, targeting });
  const id = rollout?.id ?? "";
  await rpc.unary(RolloutService.method.startRollout, { id });
  await rpc.unary(RolloutService.method.pauseRollout, { id, reason: "a look first" });
  return id;
}

describe("an e-mail", () => {
  it("tells of an alert that fires and of its end, with a link, over TLS and after a login", async () => {
    const { address } = await makeMailer(["alert.firing", "alert.resolved"]);
    const rolloutId = await pauseRollout();
    const link = `https://ota.example.com/rollouts/${rolloutId}`;
    const telling = (words: string) =>
      mails.of(address).filter(({ text }) => text.includes(words) && text.includes(link));
    await eventually(() => expect(telling("warning rollout.paused: ")).toHaveLength(1));
    await service.client().unary(RolloutService.method.resumeRollout, { id: rolloutId });
    await eventually(() => expect(telling("resolved rollout.paused: ")).toHaveLength(1));
    const [mail] = telling("warning rollout.paused: ");
    expect(mail?.text).toContain("a look first");
    expect(mail).toMatchObject({ to: [address], secure: true, user: "ota" });
    expect(mail?.headers).toMatchObject({
      from: "Device OTA <ota@example.com>",
      to: address,
      "auto-submitted": "auto-generated",
      "list-id": expect.stringMatching(/^<[0-9a-f-]{36}\.device-ota\.example\.com>$/),
    });
    expect(mail?.headers["subject"]).toMatch(/^\[device-ota\] /);
  });

  it("tells of 900 events of one moment in three, which is what the most events of one allow, and of none twice", async () => {
    const { id, address } = await makeMailer(["device.lost"]);
    await execute(
      database.url,
      `INSERT INTO fleet_events (id, type, resource_type, resource_id, summary)
         SELECT gen_random_uuid(), 'device.lost', 'device', n::text, 'device number ' || n FROM generate_series(1, 900) n`,
    );
    await eventually(async () => {
      const states = (await deliveries(id)).map(({ state }) => state);
      expect(states).toHaveLength(900);
      expect(new Set(states)).toEqual(new Set([DELIVERED]));
    });
    const told = mails
      .of(address)
      .map(({ text }) => [...text.matchAll(/device number (\d+)/g)].map(([, n]) => n));
    expect(told.map((each) => each.length)).toEqual([400, 400, 100]);
    expect(new Set(told.flat()).size).toBe(900);
  });

  it("to somebody unknown to the server (5xx) is a dead letter at once, is an alert while that is news, and is replayed", async () => {
    const { id, address } = await makeMailer();
    mails.recipient = (to) => (to === address ? { code: 550, words: "5.1.1 no such user" } : undefined);
    const eventId = await test(id);
    await eventually(async () =>
      expect(await deliveries(id)).toMatchObject([
        { eventId, state: DEAD, attemptCount: 1, outcome: expect.stringContaining("550 5.1.1 no such user") },
      ]),
    );
    await eventually(async () =>
      expect(await firingAbout(service.client(), id)).toEqual([
        { rule: "webhook.undelivered", summary: expect.stringContaining("550 5.1.1 no such user") },
      ]),
    );
    const dayAgo = `UPDATE webhook_deliveries SET due_at = due_at - interval '25 hours' WHERE webhook_id = '${id}'`;
    await execute(database.url, dayAgo);
    await eventually(async () => expect(await firingAbout(service.client(), id)).toEqual([]));
    mails.recipient = () => undefined;
    expect((await service.client().unary(method.replayDeadLetters, { id })).replayedCount).toBe(1n);
    await eventually(async () => expect(await deliveries(id)).toMatchObject([{ eventId, state: DELIVERED }]));
    expect(mails.of(address)).toHaveLength(1);
  });

  it("that is deferred (451) is tried again, and takes along what happened meanwhile", async () => {
    const { id, address } = await makeMailer();
    const asked = () => mails.asked.filter((to) => to === address).length;
    let isGrey = true;
    mails.recipient = (to) => (to === address && isGrey ? { code: 451, words: "greylisted" } : undefined);
    const first = await test(id);
    await eventually(async () => {
      expect(asked()).toBeGreaterThan(1);
      expect(await deliveries(id)).toMatchObject([
        { state: PENDING, outcome: expect.stringContaining("451") },
      ]);
    });
    const second = await test(id);
    await eventually(async () => {
      const waiting = await deliveries(id);
      expect(waiting.map(({ attemptCount }) => attemptCount > 0)).toEqual([true, true]);
    });
    isGrey = false;
    await eventually(async () =>
      expect(await deliveries(id)).toMatchObject([
        { eventId: second, state: DELIVERED },
        { eventId: first, state: DELIVERED },
      ]),
    );
    expect(mails.of(address)).toHaveLength(1);
    expect(mails.of(address)[0]?.headers["subject"]).toBe("[device-ota] 2 events");
  });

  it("waits while the server is away, and while there is one that offers no TLS, and is then sent once", async () => {
    const { id, address } = await makeMailer();
    const { port } = mails;
    await mails[Symbol.asyncDispose]();
    const eventId = await test(id);
    await eventually(async () =>
      expect(await deliveries(id)).toMatchObject([
        { eventId, state: PENDING, outcome: expect.stringContaining("ECONNREFUSED") },
      ]),
    );
    {
      await using bare = await MailServer.start({}, port);
      await eventually(async () =>
        expect(await deliveries(id)).toMatchObject([
          { eventId, state: PENDING, outcome: expect.stringContaining("STARTTLS") },
        ]),
      );
      expect([bare.asked, bare.received]).toEqual([[], []]);
    }
    mails = await MailServer.start(certified, port);
    await eventually(async () => expect(await deliveries(id)).toMatchObject([{ eventId, state: DELIVERED }]));
    expect(mails.of(address)).toHaveLength(1);
  });

  it("goes to one address, which can change, and is not signed", async () => {
    const rpc = service.client();
    const { id } = await makeMailer();
    const make = (url: string, format?: WebhookFormat) =>
      refusal(rpc.unary(method.createWebhook, { name: randomUUID(), url, format: format ?? 0 }));
    const refused = { reason: "WEBHOOK_URL_REFUSED", fields: ["url"] };
    expect(await make("mailto:a@example.com,b@example.com")).toMatchObject(refused);
    expect(await make("mailto:a@example.com?bcc=b@example.com")).toMatchObject(refused);
    expect(await make("mailto:a@example.com", WebhookFormat.SLACK)).toMatchObject(refused);
    expect(await make("https://example.com/", WebhookFormat.EMAIL)).toMatchObject(refused);
    expect(await refusal(rpc.unary(method.updateWebhook, { id, url: "https://example.com/" }))).toMatchObject(
      refused,
    );
    expect(await refusal(rpc.unary(method.updateWebhook, { id, rotateSecret: true }))).toMatchObject({
      fields: ["rotate_secret"],
    });
    const changed = await rpc.unary(method.updateWebhook, { id, url: "mailto:other@example.com" });
    expect(changed.webhook?.url).toBe("mailto:other@example.com");
    await test(id);
    await eventually(() => expect(mails.of("other@example.com")).toHaveLength(1));
  });
});
