import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, it } from "vitest";
import { FirmwareService } from "../../gen/ota/v1/firmware_service_pb.js";
import { createTestDatabase } from "../support/postgres.ts";
import { startTestService } from "../support/service.ts";
import { launchBrowser, openSignedIn } from "./browser.ts";
import { registerKey, releaseFirmware } from "./fleet.ts";

let browser: Browser;

beforeAll(async () => {
  browser = await launchBrowser();
});

afterAll(() => browser.close());

it("a page that is open while the service restarts says so, and goes on by itself with the same session", async () => {
  await using database = await createTestDatabase();
  const first = await startTestService({ databaseUrl: database.url });
  const key = await registerKey(first);
  const id = await releaseFirmware(first, key, "1.0.0");
  const { rollout } = await first.client().unary(FirmwareService.method.deployFirmware, { id });
  const address = `${first.httpUrl}/rollouts/${rollout?.id ?? ""}`;
  await using opened = await openSignedIn(browser, address, first.adminToken);
  const { page } = opened;
  await page.getByText("Live", { exact: true }).waitFor();
  await first[Symbol.asyncDispose]();
  await page.getByText("Reconnecting", { exact: true }).waitFor();
  await page.getByRole("heading", { name: "thermostat-os 1.0.0", level: 1 }).waitFor();
  await using _second = await startTestService({
    databaseUrl: database.url,
    settings: { DEVICE_OTA_HTTP_PORT: new URL(first.httpUrl).port },
  });
  await page.getByText("Live", { exact: true }).waitFor();
  await page.getByRole("button", { name: "Pause" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Pause" }).click();
  await page.getByText("Paused", { exact: true }).waitFor();
  expect(opened.errors).toEqual([]);
});
