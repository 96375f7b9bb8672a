import { randomUUID } from "node:crypto";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Standing } from "../../gen/ota/v1/device_pb.js";
import { DeviceService } from "../../gen/ota/v1/device_service_pb.js";
import { enrolDevice, http, refusal } from "../support/door-clients.ts";
import { eventually } from "../support/eventually.ts";
import { startTestService, type TestService } from "../support/service.ts";
import { expectAccessible, launchBrowser, openSignedIn, visit } from "./browser.ts";

/** Who is let in, said in the console. */

let service: TestService;
let browser: Browser;
beforeAll(async () => {
  [service, browser] = await Promise.all([startTestService(), launchBrowser()]);
});
afterAll(async () => {
  await browser.close();
  await service[Symbol.asyncDispose]();
});

async function open(path: string) {
  return await openSignedIn(browser, service.httpUrl + path, service.adminToken);
}

/** Chooses from the device page's menu and confirms; `typed` is what has to be typed first. */
async function act(page: Page, item: string, confirm: string, typed?: string): Promise<void> {
  await page.getByRole("button", { name: "More to do" }).click();
  await page.getByRole("menuitem", { name: item }).click();
  if (typed !== undefined) await page.getByLabel(`Type ${typed} to confirm`).fill(typed);
  const button = page.getByRole("button", { name: confirm, exact: true });
  await button.click();
  await button.waitFor({ state: "hidden" });
}

async function shown(id: string) {
  const { device } = await service.client().unary(DeviceService.method.getDevice, { id });
  if (device === undefined) throw new Error("there is no device");
  return device;
}

describe("a device's page", () => {
  it("blocks, unblocks, puts in quarantine and approves, and says how it stands", async () => {
    const { id } = await enrolDevice(service);
    await using opened = await open(`/devices/${id}`);
    const { page } = opened;
    await act(page, "Block it…", "Block it");
    await page.getByText("Blocked", { exact: true }).waitFor();
    expect((await shown(id)).standing).toBe(Standing.BLOCKED);
    await act(page, "Unblock it…", "Unblock it");
    await page.getByText("Blocked", { exact: true }).waitFor({ state: "hidden" });
    await act(page, "Put it in quarantine…", "Put it in quarantine");
    await page.getByText("In quarantine", { exact: true }).waitFor();
    await expectAccessible(page);
    expect((await shown(id)).standing).toBe(Standing.QUARANTINED);
    await act(page, "Approve it…", "Approve it");
    await page.getByText("In quarantine", { exact: true }).waitFor({ state: "hidden" });
    expect((await shown(id)).standing).toBe(Standing.ADMITTED);
    expect(opened.errors).toEqual([]);
  });

  it("resets a credential, retires, and reinstates", async () => {
    const serialNumber = `sn-${randomUUID()}`;
    const { id } = await enrolDevice(service, { serialNumber });
    await using opened = await open(`/devices/${id}`);
    const { page } = opened;
    await act(page, "Reset its credential…", "Reset it", serialNumber);
    await page.getByText("May enrol until").waitFor();
    await enrolDevice(service, { serialNumber });
    await act(page, "Retire it…", "Retire it", serialNumber);
    await page.getByText("Retired", { exact: true }).first().waitFor();
    expect(await refusal(enrolDevice(service, { serialNumber }))).toMatchObject({ reason: "DEVICE_RETIRED" });
    await page.getByRole("button", { name: "Reinstate it…" }).click();
    const confirm = page.getByRole("button", { name: "Reinstate it", exact: true });
    await confirm.click();
    await confirm.waitFor({ state: "hidden" });
    expect((await enrolDevice(service, { serialNumber })).id).not.toBe(id);
    expect(opened.errors).toEqual([]);
  });

  it("says that a clone is suspected, also in the list, until it is approved", async () => {
    const { id, token } = await enrolDevice(service);
    for (const [index, bootId] of ["one", "two", "one", "two", "one"].entries()) {
      const heartbeats = [{ sequence: index + 1, firmwareVersion: "1.0.0", bootId }];
      await http(service, "POST", "/api/v1/heartbeat", { token, body: { deviceId: id, heartbeats } });
    }
    await eventually(async () => {
      expect((await shown(id)).cloneSuspectedTime).toBeDefined();
    });
    await using opened = await open(`/devices?filter=${encodeURIComponent("clone_suspected_time:*")}`);
    const { page } = opened;
    await page.getByText("clone?").waitFor();
    await visit(page, `${service.httpUrl}/devices/${id}`);
    await page.getByText("Clone suspected").first().waitFor();
    await act(page, "Approve it…", "Approve it");
    await page.getByText("Clone suspected").first().waitFor({ state: "hidden" });
    expect((await shown(id)).cloneSuspectedTime).toBeUndefined();
    expect(opened.errors).toEqual([]);
  });
});

describe("the list of devices", () => {
  it("puts those that were chosen in quarantine, and blocks those only after their number was typed", async () => {
    const deviceType = `board ${randomUUID()}`;
    const serials = ["a", "b", "c"].map((name) => `${name}-${randomUUID()}`);
    const ids: string[] = [];
    for (const serialNumber of serials)
      ids.push((await enrolDevice(service, { serialNumber, deviceType })).id);
    const standings = async () => (await Promise.all(ids.map(shown))).map(({ standing }) => standing);
    await using opened = await open(`/devices?filter=${encodeURIComponent(`device_type = "${deviceType}"`)}`);
    const { page } = opened;
    const plan = async (kind: string) => {
      for (const serial of serials.slice(0, 2))
        await page.getByRole("checkbox", { name: `Choose ${serial}`, exact: true }).check();
      await page.getByRole("button", { name: "Change them…" }).click();
      await page.getByRole("combobox", { name: "What to do" }).click();
      await page.getByRole("option", { name: kind, exact: true }).click();
      await page.getByRole("button", { name: "Count and confirm…" }).click();
    };
    await plan("Put in quarantine");
    await page.getByText("2 devices will be heard, and offered no update until they are approved.").waitFor();
    const change = page.getByRole("button", { name: "Change 2", exact: true });
    await change.click();
    await change.waitFor({ state: "hidden" });
    const { QUARANTINED, ADMITTED, BLOCKED } = Standing;
    expect(await standings()).toEqual([QUARANTINED, QUARANTINED, ADMITTED]);

    await visit(page, page.url());
    await plan("Block");
    const block = page.getByRole("button", { name: "Block 2", exact: true });
    expect(await block.isDisabled()).toBe(true);
    await page.getByLabel("Type 2 to confirm").fill("2");
    await block.click();
    await block.waitFor({ state: "hidden" });
    expect(await standings()).toEqual([BLOCKED, BLOCKED, ADMITTED]);
    expect(opened.errors).toEqual([]);
  });

  it("asks those that were chosen to exchange their token; each shows it until it comes with a newer one", async () => {
    const deviceType = `board ${randomUUID()}`;
    const serialNumber = `sn-${randomUUID()}`;
    const { id, token } = await enrolDevice(service, { serialNumber, deviceType });
    await using opened = await open(`/devices?filter=${encodeURIComponent(`device_type = "${deviceType}"`)}`);
    const { page } = opened;
    await page.getByRole("checkbox", { name: `Choose ${serialNumber}`, exact: true }).check();
    await page.getByRole("button", { name: "Change them…" }).click();
    await page.getByRole("combobox", { name: "What to do" }).click();
    await page.getByRole("option", { name: "Have them exchange their token" }).click();
    await page.getByRole("button", { name: "Count and confirm…" }).click();
    await page.getByText("1 device will be asked to exchange the token that they come with.").waitFor();
    await expectAccessible(page);
    await page.getByRole("button", { name: "Change 1", exact: true }).click();
    await page.getByRole("dialog").waitFor({ state: "hidden" });
    await visit(page, `${service.httpUrl}/devices/${id}`);
    const asked = page.getByText(/^asked for .*, not in use yet$/);
    await asked.waitFor();
    const { rotateDeviceToken, getDevice } = DeviceService.method;
    const next = await service.client(token).unary(rotateDeviceToken, {});
    await service.client(next.deviceToken).unary(getDevice, { id });
    await asked.waitFor({ state: "hidden" });
    expect(opened.errors).toEqual([]);
  });
});

describe("a new enrolment key", () => {
  it("is for the serial numbers that are written, and asks for approval, as the list says", async () => {
    await using opened = await open("/access?tab=enrolment-keys");
    const { page } = opened;
    await page.getByRole("button", { name: "New key" }).click();
    await page.getByLabel("What it is for").fill("line 3");
    await page.getByRole("combobox", { name: "Serial numbers like" }).fill("TH-2026-*");
    await page.keyboard.press("Enter");
    await page.getByRole("textbox", { name: "Serial numbers", exact: true }).fill("one\n\n two \n");
    await page.getByRole("switch", { name: "Devices must be approved" }).press("Space");
    await expectAccessible(page);
    await page.getByRole("button", { name: "Make the key" }).click();
    const secret = await page
      .getByText(/^ota_enrol_/)
      .first()
      .textContent();
    await page.keyboard.press("Escape");
    const row = page.getByRole("row", { name: /line 3/ });
    await row.getByText("TH-2026-*, 2 named").waitFor();
    await row.getByText("required").waitFor();

    const enrolmentKey = secret ?? "";
    for (const serialNumber of ["TH-2026-1", "two"]) {
      const { id } = await enrolDevice(service, { serialNumber, enrolmentKey });
      expect((await shown(id)).standing).toBe(Standing.QUARANTINED);
    }
    expect(await refusal(enrolDevice(service, { serialNumber: "three", enrolmentKey }))).toMatchObject({
      reason: "SERIAL_NUMBER_NOT_ALLOWED",
    });
    expect(opened.errors).toEqual([]);
  });
});
