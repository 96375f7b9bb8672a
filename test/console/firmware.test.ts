import { randomBytes } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, it } from "vitest";
import { signManifest } from "../../src/manifest/signature.ts";
import { startTestService, type TestService } from "../support/service.ts";
import { launchBrowser, openSignedIn } from "./browser.ts";
import { registerKey } from "./fleet.ts";

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

async function contentFile(name: string, bytes: number): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, randomBytes(bytes));
  return path;
}

it("brings a file from the disk to a released firmware, signed with a key that stays outside", async () => {
  const key = await registerKey(service);
  const path = await contentFile("thermostat-os-2.0.0.bin", 3_000_000);
  await using opened = await openSignedIn(browser, `${service.httpUrl}/firmware/new`, service.adminToken);
  const { page } = opened;
  await page.locator('input[type="file"]').setInputFiles(path);
  await page.getByText(/^sha256 [0-9a-f]{64}$/).waitFor();
  expect(await page.getByLabel("Product").inputValue()).toBe("thermostat-os");
  expect(await page.getByLabel("Version", { exact: false }).first().inputValue()).toBe("2.0.0");
  await page.getByRole("combobox", { name: "Device types" }).fill("thermostat");
  await page.keyboard.press("Enter");
  await page.getByRole("button", { name: "Create and upload" }).click();
  await page.getByText("Verified: what was uploaded has this size and SHA-256.").waitFor();

  const [download] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("button", { name: /^Download thermostat-os-2.0.0.manifest.json/ }).click(),
  ]);
  const manifest = await readFile(await download.path());
  expect(JSON.parse(manifest.toString())).toMatchObject({ product: "thermostat-os", version: "2.0.0" });
  const signature = Buffer.from(signManifest(key.privateKeyPem, manifest));
  await page
    .getByRole("textbox", { name: "Signature" })
    .fill(Buffer.from(signature).fill(0, 0, 1).toString("base64"));
  const submit = page.getByRole("button", { name: "Verify and add the signature" });
  await submit.click();
  await page.getByText("Could not add the signature").waitFor();
  await page.getByRole("textbox", { name: "Signature" }).fill(signature.toString("base64"));
  await submit.click();
  await page.getByText("Released", { exact: true }).first().waitFor();
  await page.getByText(/Signed by/).waitFor();
  expect(opened.errors).toEqual([]);
});

it("goes on with an upload where a broken connection stopped it, and tells which file it wants", async () => {
  const path = await contentFile("gateway-os-1.0.0.bin", 4_000_000);
  await using opened = await openSignedIn(browser, `${service.httpUrl}/firmware/new`, service.adminToken);
  const { page } = opened;
  let chunks = 0;
  await page.route("**/UploadFirmwareChunk", async (route) => {
    chunks++;
    // The third chunk and some more never arrive.
    if (chunks >= 3 && chunks <= 5) await route.abort("connectionreset");
    else if (chunks > 5) await new Promise(() => undefined);
    else await route.continue();
  });
  await page.locator('input[type="file"]').setInputFiles(path);
  await page.getByText(/^sha256 /).waitFor();
  await page.getByRole("combobox", { name: "Device types" }).fill("gateway");
  await page.keyboard.press("Enter");
  await page.getByRole("button", { name: "Create and upload" }).click();
  await page.getByText(/the connection broke; going on as soon as it is back/).waitFor();
  await page.getByRole("button", { name: "Stop the upload" }).click();
  await page.unroute("**/UploadFirmwareChunk");
  await page.reload();

  await page.getByText(/of the content is here. Choose the same file again/).waitFor();
  await page.locator('input[type="file"]').setInputFiles(await contentFile("other.bin", 4_000_000));
  await page.getByText("This is another file").waitFor();
  await page.locator('input[type="file"]').setInputFiles(path);
  await page.getByRole("button", { name: "Continue the upload" }).click();
  await page.getByText("Verified: what was uploaded has this size and SHA-256.").waitFor();
  expect(opened.errors).toEqual([]);
});
