import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DeviceService } from "../../gen/ota/v1/device_service_pb.js";
import { FirmwareService } from "../../gen/ota/v1/firmware_service_pb.js";
import type { FleetSimulator } from "../../src/agent/fleet-simulator.ts";
import { eventually } from "../support/eventually.ts";
import { startTestService, type TestService } from "../support/service.ts";
import { expectGoodLooks, launchBrowser, openSignedIn, visit } from "./browser.ts";
import { registerKey, releaseFirmware, startFleet } from "./fleet.ts";

let empty: TestService;
let full: TestService;
let fleet: FleetSimulator;
let browser: Browser;
let ids: { firmware: string; rollout: string; device: string };

beforeAll(async () => {
  browser = await launchBrowser();
  empty = await startTestService();
  full = await startTestService();
  const key = await registerKey(full);
  await releaseFirmware(full, key, "1.0.0");
  const firmware = await releaseFirmware(full, key, "1.1.0");
  fleet = await startFleet(full, key, { count: 20 });
  const { rollout } = await full.client().unary(FirmwareService.method.deployFirmware, { id: firmware });
  const { devices } = await full.client().unary(DeviceService.method.listDevices, { pageSize: 1 });
  ids = { firmware, rollout: rollout?.id ?? "", device: devices[0]?.id ?? "" };
});

afterAll(async () => {
  await browser.close();
  await fleet.stop();
  await Promise.all([empty[Symbol.asyncDispose](), full[Symbol.asyncDispose]()]);
});

const pages = () => [
  "/",
  "/devices",
  `/devices/${ids.device}`,
  "/rollouts",
  "/rollouts/new",
  `/rollouts/${ids.rollout}`,
  "/firmware",
  "/firmware/new",
  `/firmware/compare?a=${ids.firmware}&b=${ids.firmware}`,
  `/firmware/${ids.firmware}`,
  "/alerts",
  "/alerts/webhooks",
  "/audit",
  "/access",
  "/access?tab=signing-keys",
  "/access?tab=enrolment-keys",
  "/settings",
  "/no/such/page",
];

describe("every page, in light, in dark and on a phone", () => {
  it.each(["full", "empty"] as const)("is accessible and fits when it is %s", async (kind) => {
    const service = kind === "full" ? full : empty;
    await using opened = await openSignedIn(browser, service.httpUrl, service.adminToken);
    const { page } = opened;
    for (const path of pages()) {
      if (kind === "empty" && path.includes("0")) continue;
      await visit(page, service.httpUrl + path);
      await expectGoodLooks(page);
    }
    expect(opened.errors).toEqual([]);
  });
});

describe("the overview", () => {
  it("draws versions over time up to the present, says since when, and keeps the range in the address", async () => {
    await using opened = await openSignedIn(browser, full.httpUrl, full.adminToken);
    const { page } = opened;
    const history = page.getByRole("region", { name: "Versions over time" });
    await history.getByRole("img").locator("canvas").waitFor();
    await history.getByText(/^Counted since .*; what ran before that is not known\.$/).waitFor();
    await history.getByText("7 d", { exact: true }).click();
    await eventually(() => expect(new URL(page.url()).searchParams.get("versions")).toBe("7d"));
    await page.reload();
    await history.getByRole("radio", { name: "7 d", checked: true }).waitFor({ state: "attached" });
    await page.getByText("Live", { exact: true }).waitFor();
    expect(opened.errors).toEqual([]);
  });
});
