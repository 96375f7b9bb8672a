import { createHmac } from "node:crypto";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Role } from "../../gen/ota/v1/access_pb.js";
import { WebhookService } from "../../gen/ota/v1/alert_webhook_service_pb.js";
import { mintToken } from "../support/door-clients.ts";
import { eventually } from "../support/eventually.ts";
import { startTestService, type TestService } from "../support/service.ts";
import { type ReceivedMessage, WebhookReceiver } from "../support/webhook-receiver.ts";
import { expectAccessible, expectGoodLooks, launchBrowser, openSignedIn, visit } from "./browser.ts";

/** Receivers of events, kept in the console, with one that really listens. */

let opened: AsyncDisposableStack;
let service: TestService;
let browser: Browser;
let receiver: WebhookReceiver;
beforeAll(async () => {
  opened = new AsyncDisposableStack();
  browser = opened.adopt(await launchBrowser(), (it) => it.close());
  receiver = opened.use(await WebhookReceiver.start());
  const settings = {
    DEVICE_OTA_WEBHOOK_ALLOW_PRIVATE: "true",
    DEVICE_OTA_WEBHOOK_RETRY_SECONDS: "0.05",
    DEVICE_OTA_WEBHOOK_GIVE_UP_HOURS: "0.0001",
  };
  service = opened.use(await startTestService({ settings }));
});
afterAll(() => opened[Symbol.asyncDispose]());

/** The rows of the list of deliveries that say something. */
function deliveries(page: Page, text: string) {
  return page.getByRole("table", { name: "deliveries" }).getByRole("row").filter({ hasText: text });
}

async function untilThere(page: Page, text: string, count: number): Promise<void> {
  await eventually(async () => expect(await deliveries(page, text).count()).toBe(count));
}

function isSigned(secret: string, { headers, body }: ReceivedMessage): boolean {
  const signed = `${String(headers["webhook-id"])}.${String(headers["webhook-timestamp"])}.${body}`;
  const key = Buffer.from(secret.replace("whsec_", ""), "base64");
  return headers["webhook-signature"] === `v1,${createHmac("sha256", key).update(signed).digest("base64")}`;
}

/** Reads the secret that is shown, and says that it is kept. */
async function takeSecret(page: Page): Promise<string> {
  const secret = (await page.getByText(/^whsec_/).textContent()) ?? "";
  await expectAccessible(page);
  await page.getByRole("button", { name: "I have it" }).click();
  await page.getByText(/^whsec_/).waitFor({ state: "hidden" });
  return secret;
}

describe("a webhook", () => {
  it("is made, shows its secret once, is tested, tells of its deliveries, is paused, mended and deleted", async () => {
    await using tab = await openSignedIn(browser, `${service.httpUrl}/alerts`, service.adminToken);
    const { page } = tab;
    await page.getByRole("link", { name: "Webhooks" }).click();
    await page.getByText("No webhooks", { exact: true }).waitFor();
    await expectGoodLooks(page);
    await page.getByRole("button", { name: "New webhook" }).click();
    await page.getByRole("textbox", { name: "Name" }).fill("pager");
    await page.getByRole("textbox", { name: "To" }).fill("ftp://pager.example.com");
    await page.getByRole("button", { name: "Make the webhook" }).click();
    await page.getByText("Could not make the webhook").waitFor();
    await page.getByRole("textbox", { name: "To" }).fill(receiver.url("/hook?key=hidden"));
    // Not alerts: that deliveries are given up is one, and would be sent as well.
    const events = page.getByLabel("Events").and(page.locator("input:not([type=hidden])"));
    await events.press("Backspace");
    await events.fill("rollout.*");
    await events.press("Enter");
    await expectAccessible(page);
    await page.getByRole("button", { name: "Make the webhook" }).click();
    const secret = await takeSecret(page);
    const row = page.getByRole("row", { name: /pager/ });
    await row.getByText("rollout.*").waitFor();
    expect(await row.getByText("hidden").count()).toBe(0);

    await row.getByRole("link", { name: "pager" }).click();
    await page.getByText("Nothing was sent yet").waitFor();
    await page.getByRole("button", { name: "Send a test" }).click();
    await untilThere(page, "Delivered", 1);
    expect(isSigned(secret, receiver.received[0] as ReceivedMessage)).toBe(true);

    receiver.answer = (_, response) => void response.writeHead(503).end();
    await page.getByRole("button", { name: "Send a test" }).click();
    await untilThere(page, "Given up", 1);
    await deliveries(page, "Given up").getByText(/503/).waitFor();
    await page.getByText("1 delivery given up").waitFor();
    await expectGoodLooks(page);
    receiver.answer = (_, response) => void response.writeHead(204).end();
    await page.getByRole("button", { name: "Try 1 dead letter again" }).click();
    await untilThere(page, "Delivered", 2);
    await page.getByText("Given up", { exact: true }).last().click();
    await page.getByText("Nothing was given up").waitFor();
    expect(new URL(page.url()).search).toBe("?show=dead");

    await visit(page, page.url().replace(/\?.*/, ""));
    await page.getByRole("button", { name: "Pause" }).click();
    await page.getByText("Paused", { exact: true }).waitFor();
    await page.getByRole("button", { name: "Send a test" }).click();
    await untilThere(page, "Waiting", 1);
    await page.getByRole("button", { name: "More to do" }).click();
    await page.getByRole("menuitem", { name: "Make another secret…" }).click();
    await page.getByRole("button", { name: "Make another secret" }).click();
    const another = await takeSecret(page);
    await page.getByRole("button", { name: "More to do" }).click();
    await page.getByRole("menuitem", { name: "Send it elsewhere…" }).click();
    await page.getByRole("textbox", { name: "To" }).fill(receiver.url("/other"));
    await page.getByRole("button", { name: "Send it there" }).click();
    await page.getByText(receiver.url("/other")).waitFor();
    await page.getByRole("button", { name: "Go on" }).click();
    await untilThere(page, "Delivered", 3);
    expect(isSigned(another, receiver.at("/other")[0] as ReceivedMessage)).toBe(true);

    await page.getByRole("button", { name: "More to do" }).click();
    await page.getByRole("menuitem", { name: "Delete it…" }).click();
    await page.getByLabel("Type pager to confirm").fill("pager");
    await page.getByRole("button", { name: "Delete it", exact: true }).click();
    await page.getByText("No webhooks", { exact: true }).waitFor();
    const { webhooks } = await service.client().unary(WebhookService.method.listWebhooks, {});
    expect(webhooks).toEqual([]);
    expect(tab.errors).toEqual([]);
  });

  it("is shown and offered to administrators alone", async () => {
    const operator = await mintToken(service, Role.OPERATOR);
    await using tab = await openSignedIn(browser, `${service.httpUrl}/alerts`, operator.secret);
    const { page } = tab;
    await visit(page, `${service.httpUrl}/alerts`);
    expect(await page.getByRole("link", { name: "Webhooks" }).count()).toBe(0);
    for (const path of ["/alerts/webhooks", "/alerts/webhooks/0199aaaa-0000-7000-8000-000000000000"]) {
      await visit(page, service.httpUrl + path);
      await page.getByText("For administrators").waitFor();
    }
    expect(await page.getByRole("button", { name: "New webhook" }).count()).toBe(0);
    expect(tab.errors).toEqual([]);
  });
});
