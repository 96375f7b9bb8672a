import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Role } from "../../gen/ota/v1/access_pb.js";
import { AccessService } from "../../gen/ota/v1/access_service_pb.js";
import { startTestService, type TestService } from "../support/service.ts";
import { expectAccessible, launchBrowser, openSignedIn } from "./browser.ts";
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

it("plans by every rule, waits for somebody else's approval, and takes one ring and one device back", async () => {
  const key = await registerKey(service, "third team");
  const firmwareId = await releaseFirmware(service, key, "10.0.0");
  const { secret: approver } = await service
    .client()
    .unary(AccessService.method.createToken, { name: "second pair of eyes", role: Role.OPERATOR });
  await using _fleet = await startFleet(service, key, { count: 12 });
  await using opened = await openSignedIn(
    browser,
    `${service.httpUrl}/rollouts/new?firmware=${firmwareId}`,
    service.adminToken,
  );
  const { page } = opened;

  await page.getByLabel("Only devices that match").fill("battery_percent >");
  await page.getByText(/^At character \d+: /).waitFor();
  expect(await page.getByRole("button", { name: "Start…" }).isDisabled()).toBe(true);
  await page.getByLabel("Only devices that match").fill("battery_percent >= 0");
  const first = page.getByRole("group", { name: /^Ring 1/ });
  await first.getByLabel("Up to").fill("60");
  await first.getByLabel("Somebody else approves that it opens").check();
  await first.getByLabel("Promoted by hand").check();
  for (const ring of ["early", "broad"]) {
    await page.getByRole("button", { name: `Remove the ring ${ring}` }).click();
  }
  await page.getByLabel("Watch each device for").fill("0");
  for (const part of [/^When start/, /^What a device must allow/, /^When it fails/]) {
    await page.getByRole("button", { name: part }).click();
  }
  await page.getByLabel("Tries again").fill("2");
  await page.getByRole("textbox", { name: "Priority" }).fill("7");
  await page.getByLabel("Free storage").fill("0");
  await page.getByRole("button", { name: "Add a maintenance window" }).click();
  await page.getByLabel("Begins at").fill("00:00");
  await page.getByLabel("Lasts").fill("24");
  await page.getByText("By ring").waitFor();
  await expectAccessible(page);
  await page.getByRole("button", { name: "Start…" }).click();
  await page.getByText("Nothing opens until an operator other than you has approved it.").waitFor();
  await page.getByRole("button", { name: "Start it" }).click();

  await page.getByText("You created it, so somebody else has to").waitFor();
  expect(await page.getByRole("button", { name: /^Approve/ }).count()).toBe(0);
  const plan = page.getByRole("region", { name: "Plan" });
  await plan.getByText(/^daily at 00:00 for 1 d/).waitFor();

  await using other = await openSignedIn(browser, page.url(), approver);
  await other.page.getByRole("button", { name: "Approve canary" }).click();
  await other.page.getByLabel("Reason").fill("looked at it");
  await other.page.getByRole("dialog").getByRole("button", { name: "Approve canary" }).click();
  await page.getByText(/Approved by second pair of eyes/).waitFor();

  const devices = page.getByRole("table", { name: "devices" });
  await devices.getByText("Succeeded").first().waitFor({ timeout: 60_000 });
  await devices
    .getByRole("button", { name: /^Roll back …/ })
    .first()
    .click();
  await page.getByRole("dialog").getByRole("button", { name: "Roll back" }).click();
  await page.getByText("Device taken back").waitFor();

  await page.getByRole("button", { name: "Roll back canary" }).click();
  await expectAccessible(page);
  await page.getByLabel("Type canary to confirm").fill("canary");
  await page.getByRole("dialog").getByRole("button", { name: "Roll back canary" }).click();
  await page.getByText("Ring taken back: canary").waitFor();
  await page.getByText("Paused", { exact: true }).first().waitFor();
  expect([...opened.errors, ...other.errors]).toEqual([]);
});
