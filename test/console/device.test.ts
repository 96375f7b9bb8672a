import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DeviceService } from "../../gen/ota/v1/device_service_pb.js";
import { ErrorGroupState } from "../../gen/ota/v1/error_group_pb.js";
import { ErrorService } from "../../gen/ota/v1/error_service_pb.js";
import { FirmwareService } from "../../gen/ota/v1/firmware_service_pb.js";
import { eventually } from "../support/eventually.ts";
import { startTestService, type TestService } from "../support/service.ts";
import { expectAccessible, expectGoodLooks, launchBrowser, openSignedIn, visit } from "./browser.ts";
import { registerKey, releaseFirmware } from "./fleet.ts";

let service: TestService;
let browser: Browser;
let device: { readonly id: string; readonly token: string };
let groupId: string;

beforeAll(async () => {
  [service, browser] = await Promise.all([startTestService(), launchBrowser()]);
  device = await enrol("TX-1");
  await reportCrashes(device.token, "1.0.0");
  groupId = await eventually(async () => {
    const { groups } = await service.client().unary(ErrorService.method.listErrorGroups, { fatalOnly: true });
    if (groups[0]?.occurrenceCount !== 2n) throw new Error("the crashes are not counted yet");
    return groups[0].id;
  });
});

afterAll(async () => {
  await browser.close();
  await service[Symbol.asyncDispose]();
});

async function post(path: string, body: unknown, token?: string): Promise<unknown> {
  const answer = await fetch(service.httpUrl + path, {
    method: "POST",
    headers: {
      "content-type": typeof body === "string" ? "text/plain" : "application/json",
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    },
    body: typeof body === "string" ? body : JSON.stringify(body),
  });
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
  return answer.json();
}

async function enrol(serialNumber: string): Promise<{ id: string; token: string }> {
  const answer = (await post("/api/v1/devices:enrol", {
    requestId: randomUUID(),
    enrolmentKey: service.enrolmentKey,
    serialNumber,
    deviceType: "thermostat",
    hardwareModel: "tx-200",
    firmwareVersion: "1.0.0",
  })) as { device: { id: string }; deviceToken: string };
  return { id: answer.device.id, token: answer.deviceToken };
}

/** Four heartbeats: two crashes with a log, a reboot between them, a way through Berlin. */
async function reportCrashes(token: string, firmwareVersion: string): Promise<void> {
  const { crashLog } = (await post("/api/v1/crashLogs", crashLogText, token)) as { crashLog: { id: string } };
  const crash = {
    code: "KEY_ERROR",
    severity: "SEVERITY_CRITICAL",
    message: "KeyError: 'eco'",
    stack: pythonStack,
    fatal: true,
    crashLogId: crashLog.id,
  };
  const heartbeats = [1, 2, 3, 4].map((sequence) => ({
    sequence: String(sequence),
    deviceTime: new Date().toISOString(),
    firmwareVersion,
    bootId: sequence < 3 ? "first" : "second",
    uptime: sequence < 3 ? `${400 + sequence}s` : `${sequence}s`,
    batteryPercent: 70 - sequence,
    charging: false,
    temperatureCelsius: 20 + sequence,
    location: { latitude: 52.5 + sequence / 100, longitude: 13.4 },
    metrics: { "door.opened": sequence * 3 },
    errors: sequence === 2 || sequence === 3 ? [crash] : [],
  }));
  await post("/api/v1/heartbeat", { epoch: 1, heartbeats }, token);
}

const crashLogText = "boot\nKeyError: 'eco'\n";

const pythonStack = [
  "Traceback (most recent call last):",
  '  File "/opt/app/main.py", line 88, in run',
  "    self.step()",
  '  File "/opt/app/heater.py", line 41, in step',
  "    level = table[mode]",
  "KeyError: 'eco'",
].join("\n");

describe("the pages of devices and crashes, in light, in dark and on a phone", () => {
  it("are accessible and fit", async () => {
    await using opened = await openSignedIn(browser, service.httpUrl, service.adminToken);
    const { page } = opened;
    for (const path of [
      "/devices/map",
      `/devices/${device.id}?range=1h`,
      `/devices/${device.id}?tab=map`,
      `/devices/${device.id}?tab=updates`,
      `/devices/${device.id}?tab=errors`,
      `/devices/${device.id}?tab=heartbeat`,
      "/crashes",
      `/crashes/${groupId}`,
    ]) {
      await visit(page, service.httpUrl + path);
      await expectGoodLooks(page);
    }
    expect(opened.errors).toEqual([]);
  });
});

describe("a device's page", () => {
  it("says what keeps it from being heard as it means to be, and the list finds it", async () => {
    const { id, token } = await enrol("TX-TROUBLE");
    const heartbeats = [
      { sequence: 1, bootId: "x".repeat(65) },
      { sequence: 2, batteryPercent: 101, deviceTime: new Date(Date.now() - 7_205_000).toISOString() },
    ];
    await post("/api/v1/heartbeat", { heartbeats }, token);
    await using opened = await openSignedIn(browser, `${service.httpUrl}/devices/${id}`, service.adminToken);
    const { page } = opened;
    const trouble = page.getByRole("region", { name: "Trouble with its heartbeats" });
    await trouble.getByText(/^clock is 2 h( \d+ s)? behind$/).waitFor();
    await trouble.getByText("sends battery_percent 101, 1 time").waitFor();
    await trouble.getByText("1 heartbeat refused: boot_id must have at most 64 characters").waitFor();
    const filter = "heartbeat_refused_time > ago(1h) AND clock_verdict = OFF";
    await visit(page, `${service.httpUrl}/devices?filter=${encodeURIComponent(filter)}`);
    const row = page.getByRole("row", { name: /TX-TROUBLE/ });
    await row.getByText("heartbeats refused").waitFor();
    await row.getByText("clock wrong").waitFor();
    expect(opened.errors).toEqual([]);
    await expectAccessible(page);
  });

  it("draws what was measured and what happened, and zooms", async () => {
    const address = `${service.httpUrl}/devices/${device.id}?range=1h`;
    await using opened = await openSignedIn(browser, address, service.adminToken);
    const { page } = opened;
    const drawing = page.getByRole("img", { name: /^Battery, Temperature, door.opened of TX-1 over time$/ });
    await drawing.locator("canvas").waitFor();
    const figures = page.getByRole("table", { name: "Figures" });
    await figures.getByRole("row", { name: /^Battery 66 % 66 % 67.5 % 69 %$/ }).waitFor();
    await figures.getByRole("row", { name: /^door.opened 12 3 7.5 12$/ }).waitFor();
    const happened = page.getByRole("region", { name: "What happened" });
    expect(await happened.getByRole("link", { name: "KEY_ERROR on 1.0.0: KeyError: 'eco'" }).count()).toBe(2);

    const box = await drawing.boundingBox();
    if (box === null) throw new Error("the drawing has no place");
    await page.mouse.move(box.x + box.width * 0.4, box.y + 150);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width * 0.6, box.y + 150);
    await page.mouse.up();
    await page.getByRole("button", { name: "Back to now" }).waitFor();
    const search = new URL(page.url()).searchParams;
    const span = Number(search.get("to")) - Number(search.get("from"));
    expect(span).toBeGreaterThan(10 * 60_000);
    expect(span).toBeLessThan(20 * 60_000);
    await page.getByRole("button", { name: "Zoom out" }).press("Enter");
    await page.getByRole("button", { name: "Back to now" }).click();
    await figures.waitFor();
    expect(opened.errors).toEqual([]);
  });

  it("draws a kept day where it came back, or as a day by the device's time, and the address says which", async () => {
    const { id, token } = await enrol("TX-3");
    const madeMs = (hoursAgo: number) => Date.now() - hoursAgo * 3_600_000;
    const heartbeats = Array.from({ length: 20 }, (_, index) => ({
      sequence: String(index + 1),
      deviceTime: new Date(madeMs(22 - index)).toISOString(),
      firmwareVersion: "1.0.0",
      bootId: index < 10 ? "first" : "second",
      uptime: `${((index % 10) + 1) * 3_600}s`,
      batteryPercent: 90 - index,
      location: { latitude: 52.5 + index / 100, longitude: 13.4 },
      errors: index === 5 ? [{ code: "TOO_COLD", severity: "SEVERITY_ERROR", message: "frost" }] : [],
    }));
    await post("/api/v1/heartbeat", { epoch: 1, heartbeats }, token);
    const { deviceTime } = heartbeats[5] ?? {};
    await eventually(async () => {
      const { occurrences } = await service
        .client()
        .unary(ErrorService.method.listErrorOccurrences, { deviceId: id });
      expect(occurrences).toHaveLength(1);
    });

    await using opened = await openSignedIn(browser, `${service.httpUrl}/devices/${id}`, service.adminToken);
    const { page } = opened;
    const happened = page.getByRole("region", { name: "What happened" });
    await happened.getByText("TOO_COLD on 1.0.0: frost").waitFor();
    expect(await happened.locator(`time[datetime="${deviceTime}"]`).count()).toBe(0);
    // Of one point of receipt, no fall of the uptime can be seen.
    expect(await happened.getByText("Rebooted").count()).toBe(0);

    await page.getByRole("radiogroup", { name: "Placed by" }).getByText("Device's time").click();
    await page.getByText(/a day that it kept is drawn as a day/).waitFor();
    await happened.locator(`time[datetime="${deviceTime}"]`).waitFor();
    await happened.getByText("Rebooted").waitFor();
    await page.getByRole("button", { name: "Heartbeats received in this time as CSV" }).waitFor();
    await expectAccessible(page);
    expect(new URL(page.url()).searchParams.get("by")).toBe("device");

    await page.getByRole("tab", { name: "Map" }).click();
    const map = page.getByRole("region", { name: "Map" });
    await map.locator(`time[datetime="${heartbeats[0]?.deviceTime}"]`).waitFor();
    await map.getByText("20 positions").first().waitFor();
    await page.reload();
    await map.getByRole("radio", { name: "Device's time", checked: true }).waitFor({ state: "attached" });
    await map.getByText("Time of receipt", { exact: true }).click();
    await map.getByText(/lies where it came back/).waitFor();
    expect(await map.locator(`time[datetime="${heartbeats[0]?.deviceTime}"]`).count()).toBe(0);
    expect(new URL(page.url()).searchParams.get("by")).toBeNull();
    expect(opened.errors).toEqual([]);
  });

  it("gives the heartbeats of the time as CSV", async () => {
    await using opened = await openSignedIn(
      browser,
      `${service.httpUrl}/devices/${device.id}`,
      service.adminToken,
    );
    const { page } = opened;
    const [download] = await Promise.all([
      page.waitForEvent("download"),
      page.getByRole("button", { name: "Heartbeats of this time as CSV" }).click(),
    ]);
    expect(download.suggestedFilename()).toBe("TX-1-heartbeats.csv");
    const [header = "", ...lines] = (await readFile(await download.path(), "utf8")).trim().split(/\r?\n/);
    expect(header).toContain("battery_percent");
    expect(lines).toHaveLength(4);
  });

  it("says in words why no update comes, rule by rule", async () => {
    const key = await registerKey(service);
    const firmwareId = await releaseFirmware(service, key, "1.1.0");
    await service
      .client()
      .unary(DeviceService.method.updateDevice, { id: device.id, groups: { names: ["held-back"] } });
    const { rollout } = await service.client().unary(FirmwareService.method.deployFirmware, {
      id: firmwareId,
      targeting: { groups: ["pilots"] },
    });
    const address = `${service.httpUrl}/devices/${device.id}?tab=updates`;
    await using opened = await openSignedIn(browser, address, service.adminToken);
    const { page } = opened;
    const why = page.getByRole("region", { name: "Why does it (not) get an update?" });
    await why.getByRole("link", { name: new RegExp(rollout?.version ?? "") }).waitFor();
    await why.getByRole("button", { name: /rules? do not hold$/ }).click();
    await why
      .getByRole("table", { name: "Rules" })
      .getByText("held-back", { exact: false })
      .first()
      .waitFor();
    await expectAccessible(page);
    expect(opened.errors).toEqual([]);
  });
});

describe("the list of devices", () => {
  it("shows who comes as soon as the fleet's stream tells, without being read again", async () => {
    const { id, token } = await enrol("TX-2");
    await using opened = await openSignedIn(
      browser,
      `${service.httpUrl}/devices?filter=${encodeURIComponent("serial_number = TX-2")}`,
      service.adminToken,
    );
    const { page } = opened;
    const row = page.getByRole("table", { name: "devices" }).getByRole("row", { name: /TX-2/ });
    await row.getByText("Never heard from").waitFor();
    await page.getByText("Live", { exact: true }).waitFor();
    await page.route("**/ListDevices", () => undefined);
    const heartbeat = { sequence: "1", firmwareVersion: "1.0.0", bootId: "first" };
    await post("/api/v1/heartbeat", { epoch: 1, heartbeats: [heartbeat] }, token);
    await row.getByText(/^(?:Online|Late|Offline)$/).waitFor();
    await service.client().unary(DeviceService.method.retireDevice, { id, reason: "seen" });
    expect(opened.errors).toEqual([]);
  });
});

describe("a crash", () => {
  it("is found, read, and resolved", async () => {
    await using opened = await openSignedIn(
      browser,
      `${service.httpUrl}/crashes?fatal=true`,
      service.adminToken,
    );
    const { page } = opened;
    await page.getByRole("link", { name: "KeyError in heater.step" }).click();
    await page.getByText(/line 41, in step/).waitFor();
    await page.getByRole("link", { name: "TX-1" }).waitFor();
    await page.getByRole("img", { name: "Occurrences by day and version" }).locator("canvas").waitFor();
    const [download] = await Promise.all([
      page.waitForEvent("download"),
      page.getByRole("button", { name: "Crash log" }).click(),
    ]);
    expect(await readFile(await download.path(), "utf8")).toBe(crashLogText);
    await page.getByRole("button", { name: "Resolve", exact: true }).click();
    const dialog = page.getByRole("dialog");
    expect(await dialog.getByLabel("The highest version that still has it").inputValue()).toBe("1.0.0");
    await dialog.getByLabel("Reason").fill("mended in 1.1.0");
    await dialog.getByRole("button", { name: "Resolve" }).click();
    await dialog.waitFor({ state: "hidden" });
    const { group } = await service.client().unary(ErrorService.method.getErrorGroup, { id: groupId });
    expect(group).toMatchObject({ state: ErrorGroupState.RESOLVED, resolvedVersion: "1.0.0" });
    await page.getByRole("button", { name: "Reopen" }).waitFor();
    await page.goto(`${service.httpUrl}/crashes?fatal=true`);
    await page.getByText("Choose other filters above.").or(page.getByText("Nothing open")).first().waitFor();
    expect(opened.errors).toEqual([]);
  });
});
