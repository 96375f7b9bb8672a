import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DeviceService } from "../../gen/ota/v1/device_service_pb.js";
import { FirmwareService } from "../../gen/ota/v1/firmware_service_pb.js";
import type { FleetSimulator } from "../../src/agent/fleet-simulator.ts";
import { eventually } from "../support/eventually.ts";
import { startTestService, type TestService } from "../support/service.ts";
import { expectAccessible, launchBrowser, openSignedIn } from "./browser.ts";
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

/** What stands where something is still being read. */
const unfinished = "[aria-busy=true], .mantine-Skeleton-root";

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
  "/audit",
  "/access",
  "/access?tab=signing-keys",
  "/access?tab=enrolment-keys",
  "/settings",
  "/no/such/page",
];

describe.each([
  ["light", { colorScheme: "light" }],
  ["dark", { colorScheme: "dark" }],
  ["on a phone", { viewport: { width: 390, height: 844 }, hasTouch: true }],
] as const)("every page, %s", (_, options) => {
  it.each(["full", "empty"] as const)("is accessible and fits when it is %s", async (kind) => {
    const service = kind === "full" ? full : empty;
    await using opened = await openSignedIn(browser, service.httpUrl, service.adminToken, options);
    const { page } = opened;
    for (const path of pages()) {
      if (kind === "empty" && path.includes("0")) continue;
      await page.goto(service.httpUrl + path);
      await page.getByRole("heading", { level: 1 }).waitFor();
      await eventually(async () => expect(await page.locator(unfinished).count()).toBe(0));
      await expectAccessible(page);
      const overflow = await page.evaluate<number>(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth",
      );
      expect(overflow, `${path} is wider than the screen`).toBeLessThanOrEqual(0);
    }
    expect(opened.errors).toEqual([]);
  });
});
