import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, it } from "vitest";
import { startTestService, type TestService } from "../support/service.ts";
import { launchBrowser, openSignedIn } from "./browser.ts";
import { registerKey, releaseFirmware, startFleet } from "./fleet.ts";

let service: TestService;
let browser: Browser;

beforeAll(async () => {
  [service, browser] = await Promise.all([startTestService(), launchBrowser()]);
});

afterAll(async () => {
  await browser.close();
  await service[Symbol.asyncDispose]();
});

it("plans a rollout, watches its canary trip and the rollback, and finds the devices behind it", async () => {
  const key = await registerKey(service);
  await releaseFirmware(service, key, "1.0.0");
  const firmwareId = await releaseFirmware(service, key, "1.1.0");
  await using _fleet = await startFleet(service, key, { count: 40, crash: { "1.1.0": 1 } });
  await using opened = await openSignedIn(
    browser,
    `${service.httpUrl}/firmware/${firmwareId}`,
    service.adminToken,
  );
  const { page } = opened;

  await page.getByRole("link", { name: "Roll out" }).click();
  await page.getByLabel("Name", { exact: true }).first().fill("Faster start-up");
  const canary = page.getByRole("group", { name: /^Ring 1/ });
  await canary.getByLabel("Up to").fill("30");
  await page
    .getByRole("group", { name: /^Ring 2/ })
    .getByLabel("Up to")
    .fill("50");
  await page.getByLabel("But not before").fill("3");
  await page.getByRole("button", { name: "Start…" }).click();
  await page.getByRole("button", { name: "Start it" }).click();

  await page.getByRole("heading", { name: "Faster start-up", level: 1 }).waitFor();
  await page.getByText("Live").waitFor();
  await page.getByText("Rolled back", { exact: true }).first().waitFor({ timeout: 90_000 });
  await page.getByText(/of \d+ devices? back · 0 on the way/).waitFor();
  await page.getByText("Rollback begun").waitFor();

  await page.getByRole("link", { name: "CRASH_LOOP" }).click();
  expect(new URL(page.url()).searchParams.get("reason")).toBe("CRASH_LOOP");
  const devices = page.getByRole("table", { name: "devices" });
  await devices.getByRole("link").first().click();
  await page.getByRole("heading", { name: "Updates", level: 2 }).waitFor();
  await page.getByRole("table", { name: "updates" }).getByText("CRASH_LOOP").waitFor();
  expect(opened.errors).toEqual([]);
});

it("asks for the version before it aborts, and says what will happen", async () => {
  const key = await registerKey(service, "second team");
  const firmwareId = await releaseFirmware(service, key, "9.0.0");
  await using opened = await openSignedIn(
    browser,
    `${service.httpUrl}/rollouts/new?firmware=${firmwareId}`,
    service.adminToken,
  );
  const { page } = opened;
  await page.getByRole("button", { name: "Keep as a draft" }).click();
  await page.getByText("Draft", { exact: true }).waitFor();
  await page.getByRole("button", { name: "Abort" }).click();
  await page.getByText("devices that took it keep it").waitFor();
  const abort = page.getByRole("dialog").getByRole("button", { name: "Abort" });
  expect(await abort.isDisabled()).toBe(true);
  await page.getByLabel("Type 9.0.0 to confirm").fill("9.0.0");
  await page.getByLabel("Reason").fill("not needed");
  await abort.click();
  await page.getByText("Aborted", { exact: true }).first().waitFor();
  await page.getByText("not needed").first().waitFor();
  expect(opened.errors).toEqual([]);
});
