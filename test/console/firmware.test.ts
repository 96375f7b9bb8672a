import { randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, it } from "vitest";
import { startTestService, type TestService } from "../support/service.ts";
import { launchBrowser, openSignedIn } from "./browser.ts";

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
