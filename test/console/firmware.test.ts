import { randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, it } from "vitest";
import { AccessService } from "../../gen/ota/v1/access_service_pb.js";
import { FirmwareService } from "../../gen/ota/v1/firmware_service_pb.js";
import { generateSigningKey } from "../../src/manifest/signature.ts";
import { createFirmware, newContent, publish, upload } from "../support/door-clients.ts";
import { eventually } from "../support/eventually.ts";
import { startTestService, type TestService } from "../support/service.ts";
import { launchBrowser, openSignedIn } from "./browser.ts";

let service: TestService;
let browser: Browser;
let folder: string;

beforeAll(async () => {
  // Content is read every few seconds.
  const settings = { DEVICE_OTA_SCRUB_HOURS: "0.001" };
  [service, browser] = await Promise.all([startTestService({ settings }), launchBrowser()]);
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

it("tells of content that was damaged since this tab uploaded it, and takes it again", async () => {
  const content = newContent(10_000);
  const file = { name: "gateway-os-2.0.0.bin", mimeType: "application/octet-stream", buffer: content };
  const { id, sha256, product } = await createFirmware(service.client(), content);
  await using opened = await openSignedIn(browser, `${service.httpUrl}/firmware/${id}`, service.adminToken);
  const { page } = opened;
  const verified = page.getByText("Verified: what was uploaded has this size and SHA-256.");
  const damaged = page.getByText(/^The stored content is damaged or missing/);
  const choose = async () => {
    await page.getByText(/Choose the file whose SHA-256 is below/).waitFor();
    await page.locator('input[type="file"]').setInputFiles(file);
    await page.getByRole("button", { name: "Upload", exact: true }).click();
  };
  await choose();
  await verified.waitFor();

  const path = join(service.dataDir, "storage", "firmware", "sha256", sha256.slice(0, 2), sha256);
  await writeFile(path, randomBytes(content.length));
  await page.getByRole("link", { name: "Firmware" }).first().click();
  await eventually(async () => {
    const { firmware } = await service.client().unary(FirmwareService.method.getFirmware, { id });
    expect(firmware?.damagedTime).toBeDefined();
  });
  // Within the page: what this tab knows of its uploads stays.
  await eventually(async () => {
    await page.getByRole("link", { name: `${product} 1.1.0` }).click();
    await page.getByRole("heading", { name: "Content" }).waitFor();
    const seen = await damaged.count();
    if (seen === 0) await page.getByRole("link", { name: "Firmware" }).first().click();
    expect(seen).toBe(1);
  });
  expect(await verified.count()).toBe(0);
  await choose();
  await verified.waitFor();
  expect(await damaged.count()).toBe(0);
  expect(opened.errors).toEqual([]);
});

it("offers no signing key that is revoked or has expired", async () => {
  const client = service.client();
  const content = newContent(100);
  const { id } = await createFirmware(client, content);
  await upload(client, id, content);
  const register = async (name: string, expiresInMs: number) => {
    const { publicKeyPem } = generateSigningKey();
    const expireTime = timestampFromDate(new Date(Date.now() + expiresInMs));
    const { registerSigningKey } = AccessService.method;
    return await client.unary(registerSigningKey, { name, publicKeyPem, expireTime });
  };
  const revoked = await register("revoked team", 3_600_000);
  await client.unary(AccessService.method.revokeSigningKey, { id: revoked.key?.id ?? "", reason: "lost" });
  await register("late team", 1_000);
  await delay(1_000);
  await using opened = await openSignedIn(browser, `${service.httpUrl}/firmware/${id}`, service.adminToken);
  const { page } = opened;
  await page.getByText("No signing key works").waitFor();
  await register("release team", 3_600_000);
  await register("other team", 3_600_000);
  await page.reload();
  await page.getByRole("combobox", { name: "Signed with" }).click();
  await page.getByRole("option", { name: "release team" }).waitFor();
  expect((await page.getByRole("option").allTextContents()).sort()).toEqual(["other team", "release team"]);
  expect(opened.errors).toEqual([]);
});

it("recalls a version with what takes its place, says so on its page, and reinstates it", async () => {
  const product = "recalled-os";
  const bad = await publish(service, newContent(100), { product, version: "2.0.0" });
  const good = await publish(service, newContent(100), { product, version: "2.0.1" });
  const address = `${service.httpUrl}/firmware/${bad.id}`;
  await using opened = await openSignedIn(browser, address, service.adminToken);
  const { page } = opened;
  await page.getByRole("button", { name: "Recall", exact: true }).click();
  const dialog = page.getByRole("dialog");
  expect(await dialog.getByRole("button", { name: "Recall it" }).isDisabled()).toBe(true);
  await dialog.getByRole("combobox", { name: "Replacement" }).click();
  await page.getByRole("option", { name: `${product} 2.0.1` }).click();
  await dialog.getByText(/0 devices run it/).waitFor();
  await dialog.getByLabel("Reason").fill("it burns");
  await dialog.getByRole("button", { name: "Recall it" }).click();

  await page.getByText("No device may run this version").waitFor();
  await page.getByText(/: it burns\. Whoever runs it is offered/).waitFor();
  expect(await page.getByRole("link", { name: "Roll out" }).count()).toBe(0);
  await page.getByRole("button", { name: "Reinstate" }).click();
  await dialog.getByRole("button", { name: "Reinstate it" }).click();
  await page.getByRole("link", { name: "Roll out" }).waitFor();
  expect(await page.getByText("No device may run this version").count()).toBe(0);

  // A version without a page of its own is seen in the list.
  const factory = { product, version: "factory-7", replacementId: good.id, reason: "it never worked" };
  await service.client().unary(FirmwareService.method.recallFirmware, factory);
  await page.goto(`${service.httpUrl}/firmware`);
  await page.getByRole("heading", { name: "Recalled, and not in the catalogue" }).waitFor();
  await page.getByText(/: it never worked\. Whoever runs it is offered/).waitFor();
  expect(opened.errors).toEqual([]);
});
