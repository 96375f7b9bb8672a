import { randomBytes } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Role } from "../../gen/ota/v1/access_pb.js";
import { AccessService } from "../../gen/ota/v1/access_service_pb.js";
import { signManifest } from "../../src/manifest/signature.ts";
import { startTestService, type TestService } from "../support/service.ts";
import { expectAccessible, launchBrowser, openSignedIn } from "./browser.ts";
import { registerKey, releaseFirmware, startFleet } from "./fleet.ts";

let service: TestService;
let browser: Browser;
let folder: string;

beforeAll(async () => {
  [service, browser] = await Promise.all([startTestService(), launchBrowser()]);
  folder = await mkdtemp(join(tmpdir(), "device-ota-console-"));
});

afterAll(async () => {
  await browser.close();
  await service[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

it("uploads a firmware, sees whom it would reach, starts it, watches the canary trip and the rollback, and finds the crash and its devices", async () => {
  const key = await registerKey(service);
  await releaseFirmware(service, key, "1.0.0");
  await using _fleet = await startFleet(service, key, { count: 40, crash: { "1.1.0": 1 } });
  const file = join(folder, "thermostat-os-1.1.0.bin");
  await writeFile(file, randomBytes(1_500_000));
  await using opened = await openSignedIn(browser, `${service.httpUrl}/firmware/new`, service.adminToken);
  const { page } = opened;

  await page.locator('input[type="file"]').setInputFiles(file);
  await page.getByText(/^sha256 [0-9a-f]{64}$/).waitFor();
  expect(await page.getByLabel("Product").inputValue()).toBe("thermostat-os");
  expect(await page.getByLabel("Version", { exact: false }).first().inputValue()).toBe("1.1.0");
  await page.getByRole("combobox", { name: "Device types" }).fill("thermostat");
  await page.keyboard.press("Enter");
  await page.getByRole("button", { name: "Create and upload" }).click();
  await page.getByText("Verified: what was uploaded has this size and SHA-256.").waitFor();
  const [download] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("button", { name: /^Download thermostat-os-1.1.0.manifest.json/ }).click(),
  ]);
  const manifest = await readFile(await download.path());
  expect(JSON.parse(manifest.toString())).toMatchObject({ product: "thermostat-os", version: "1.1.0" });
  const signature = Buffer.from(signManifest(key.privateKeyPem, manifest));
  const forged = signature.map((byte, index) => (index === 0 ? byte ^ 1 : byte));
  const signatureField = page.getByRole("textbox", { name: "Signature" });
  await signatureField.fill(Buffer.from(forged).toString("base64"));
  const submit = page.getByRole("button", { name: "Verify and add the signature" });
  await submit.click();
  await page.getByText("Could not add the signature").waitFor();
  await signatureField.fill(signature.toString("base64"));
  await submit.click();
  await page.getByText("Released", { exact: true }).first().waitFor();
  await page.getByText(/Signed by/).waitFor();

  await page.getByRole("link", { name: "Roll out" }).click();
  await page.getByLabel("Name", { exact: true }).first().fill("Faster start-up");
  const canary = page.getByRole("group", { name: /^Ring 1/ });
  await canary.getByLabel("Up to").fill("30");
  await page
    .getByRole("group", { name: /^Ring 2/ })
    .getByLabel("Up to")
    .fill("50");
  await page.getByLabel("But not before").fill("3");
  const preview = page.getByRole("region", { name: "What it would reach" });
  await preview.getByText(/^40 devices are targeted/).waitFor();
  await preview.getByText("By ring").waitFor();
  await page.getByRole("button", { name: "Start…" }).click();
  await page.getByRole("button", { name: "Start it" }).click();

  await page.getByRole("heading", { name: "Faster start-up", level: 1 }).waitFor();
  await page.getByText("Live", { exact: true }).waitFor();
  await page.getByText(/of \d+ devices? back · 0 on the way/).waitFor({ timeout: 90_000 });
  await page.getByText("Rollback begun").waitFor();
  const rolloutUrl = page.url();

  await page.getByRole("link", { name: "CRASH_LOOP" }).click();
  expect(new URL(page.url()).searchParams.get("reason")).toBe("CRASH_LOOP");
  const devices = page.getByRole("table", { name: "devices" });
  // The devices that were listed before stand there until those that failed so are read.
  await devices.getByRole("row").filter({ hasText: "CRASH_LOOP" }).getByRole("link").first().click();
  await page.getByRole("heading", { name: "Updates", level: 2 }).waitFor();
  await page.getByRole("table", { name: "updates" }).getByText("CRASH_LOOP").waitFor();

  await page.goto(rolloutUrl);
  await page.getByRole("link", { name: "What crashed on 1.1.0" }).click();
  await page.getByRole("heading", { name: "Crashes", level: 1 }).waitFor();
  await page.getByRole("table", { name: "error groups" }).getByRole("link").first().click();
  const brought = page.getByRole("region", { name: "Brought by" });
  expect(await brought.getByRole("link", { name: "Faster start-up" }).getAttribute("href")).toBe(
    new URL(rolloutUrl).pathname,
  );
  const affected = page.getByRole("table", { name: "affected devices" }).getByRole("link").first();
  const serialNumber = (await affected.textContent()) ?? "";
  expect(serialNumber).toMatch(/^sim-/);
  await affected.click();
  await page.getByRole("heading", { name: serialNumber, level: 1 }).waitFor();
  expect(opened.errors).toEqual([]);
});

it("asks for the version before it aborts, says what will happen, and archives what is over", async () => {
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

  await page.getByRole("button", { name: "Archive" }).click();
  await page.getByText("histories keep what it did").waitFor();
  await page.getByRole("dialog").getByRole("button", { name: "Archive" }).click();
  await page.getByText("Aborted, archived", { exact: true }).first().waitFor();
  await page.goto(`${service.httpUrl}/rollouts`);
  await page.getByText("Choose All above").or(page.getByRole("table")).first().waitFor();
  expect(await page.getByRole("link", { name: /9\.0\.0/ }).count()).toBe(0);
  await page.getByText("With archived").click();
  await page
    .getByRole("link", { name: /9\.0\.0/ })
    .first()
    .click();
  await page.getByRole("button", { name: "Unarchive" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Unarchive" }).click();
  await page.getByRole("button", { name: "Archive", exact: true }).waitFor();
  expect(opened.errors).toEqual([]);
});

it("plans by every rule, waits for somebody else's approval, and takes one ring and one device back", async () => {
  const key = await registerKey(service, "third team");
  const firmwareId = await releaseFirmware(service, key, "10.0.0");
  const [creator = "", approver = ""] = await Promise.all(
    ["first pair of eyes", "second pair of eyes"].map(async (name) => {
      const made = await service
        .client()
        .unary(AccessService.method.createToken, { name, role: Role.OPERATOR });
      return made.secret;
    }),
  );
  await using _fleet = await startFleet(service, key, { count: 12 });
  await using opened = await openSignedIn(
    browser,
    `${service.httpUrl}/rollouts/new?firmware=${firmwareId}`,
    creator,
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
  expect(await page.getByLabel("Stop above").getAttribute("placeholder")).toBe("10 %");
  expect(await page.getByLabel("A device may take").getAttribute("placeholder")).toBe("6 h");
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
  await page.getByText("1 device goes back.").waitFor();
  await page.getByText("Device rolled back").waitFor();

  await page.getByRole("button", { name: "Roll back canary" }).click();
  await expectAccessible(page);
  await page.getByLabel("Type canary to confirm").fill("canary");
  await page.getByRole("dialog").getByRole("button", { name: "Roll back canary" }).click();
  await page.getByText("Ring rolled back: canary").waitFor();
  await page.getByText("Paused", { exact: true }).first().waitFor();
  expect([...opened.errors, ...other.errors]).toEqual([]);
});

it("tells what to know before a start, and completes a rollout that waits for that alone", async () => {
  const key = await registerKey(service, "fourth team");
  const firmwareId = await releaseFirmware(service, key, "11.0.0");
  await using _fleet = await startFleet(service, key, { count: 3, factoryVersion: "0.9.0" });
  await using opened = await openSignedIn(
    browser,
    `${service.httpUrl}/rollouts/new?firmware=${firmwareId}`,
    service.adminToken,
  );
  const { page } = opened;
  await page.getByLabel("Only devices that match").fill('firmware_version = "0.9.0"');
  for (const ring of ["early", "broad", "production"]) {
    await page.getByRole("button", { name: `Remove the ring ${ring}` }).click();
  }
  const only = page.getByRole("group", { name: /^Ring 1/ });
  await only.getByLabel("Up to").fill("100");
  await only.getByLabel("Promoted by hand").check();
  await only.getByLabel("Held for").fill("0");
  await page.getByLabel("Watch each device for").fill("0");
  const preview = page.getByRole("region", { name: "What it would reach" });
  await preview.getByText(/^3 devices are targeted/).waitFor();
  await preview.getByText(/thermostat-os 0.9.0, which runs there, is not in the catalogue/).waitFor();
  await page.getByRole("button", { name: "Start…" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByText("To know before the start").waitFor();
  await expectAccessible(page);
  expect(await dialog.getByRole("link", { name: "Upload 0.9.0" }).getAttribute("href")).toBe("/firmware/new");
  await page.getByRole("button", { name: "Start it" }).click();

  const alert = page.getByRole("alert");
  await alert.getByText("Waits for a person").waitFor({ timeout: 60_000 });
  await alert.getByText(/the gate of ring canary holds, and is manual/).waitFor();
  await expectAccessible(page);
  await alert.getByRole("button", { name: "Complete…" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Complete", exact: true }).click();
  await page.getByText("Completed", { exact: true }).first().waitFor();
  expect(opened.errors).toEqual([]);
});
