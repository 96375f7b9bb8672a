import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startTestService, type TestService } from "../support/service.ts";
import { expectGoodLooks, launchBrowser, openConsole, openSignedIn } from "./browser.ts";

let service: TestService;
let browser: Browser;
beforeAll(async () => {
  browser = await launchBrowser();
  service = await startTestService();
});
afterAll(async () => {
  await browser.close();
  await service[Symbol.asyncDispose]();
});

describe("the reference of the API", () => {
  it("is there without signing in, accessible, fits, and asks nobody else for anything", async () => {
    await using opened = await openConsole(browser, `${service.httpUrl}/docs`);
    const { page, errors } = opened;
    const elsewhere: string[] = [];
    page.on("request", (request) => {
      if (!request.url().startsWith(service.httpUrl)) elsewhere.push(request.url());
    });
    await page.reload();
    // By selectors: the roles of a page of this size take long to make out.
    await page.locator("nav summary", { hasText: "DeviceService" }).click();
    await page.locator("nav a[href='#DeviceService_ListDevices']").click();
    await page.locator("article:target h3", { hasText: "GET /api/v1/devices" }).waitFor();
    // axe looks at each element; what is left out is made by the same few functions.
    await page.evaluate(
      "for (const each of document.querySelectorAll('article:nth-of-type(n+3)')) each.remove()",
    );
    await expectGoodLooks(page);
    expect(elsewhere).toEqual([]);
    expect(errors).toEqual([]);
  });

  it("is a link in the console", async () => {
    await using opened = await openSignedIn(browser, service.httpUrl, service.adminToken);
    const { page, errors } = opened;
    await page.getByRole("button", { name: /^Signed in as/ }).click();
    await page.getByRole("menuitem", { name: "API reference" }).click();
    await page.locator("h1", { hasText: "Device OTA & Heartbeat Service" }).waitFor();
    expect(errors).toEqual([]);
  });
});
