import { rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Role } from "../../gen/ota/v1/access_pb.js";
import { AlertService } from "../../gen/ota/v1/alert_service_pb.js";
import { ErrorGroupState } from "../../gen/ota/v1/error_group_pb.js";
import { ErrorService } from "../../gen/ota/v1/error_service_pb.js";
import { HeartbeatService } from "../../gen/ota/v1/heartbeat_service_pb.js";
import type { Rollout } from "../../gen/ota/v1/rollout_pb.js";
import { RolloutService } from "../../gen/ota/v1/rollout_service_pb.js";
import { type EnrolledDevice, enrolDevice, mintToken, newContent, publish } from "../support/door-clients.ts";
import { eventually } from "../support/eventually.ts";
import { startTestService, type TestService } from "../support/service.ts";
import { expectAccessible, expectGoodLooks, launchBrowser, openSignedIn } from "./browser.ts";

/** What needs a person, said in the console, by causes that are real. */

const { method } = RolloutService;

let service: TestService;
let browser: Browser;
let device: EnrolledDevice;
let firmwareId: string;

beforeAll(async () => {
  const settings = { DEVICE_OTA_ALERT_RESOLVE_SECONDS: "0" };
  [service, browser] = await Promise.all([startTestService({ settings }), launchBrowser()]);
  device = await enrolDevice(service);
  ({ id: firmwareId } = await publish(service, newContent(100)));
});

afterAll(async () => {
  await browser.close();
  await service[Symbol.asyncDispose]();
});

/** Starts a rollout for the one device. */
async function startRollout(name: string, requireApproval = false, at = service): Promise<Rollout> {
  const { rollout } = await at.client().unary(method.createRollout, {
    firmwareId: at === service ? firmwareId : (await publish(at, newContent(100))).id,
    name,
    rings: [{ name: "all", percent: 100, gate: { requireApproval } }],
  });
  const started = await at.client().unary(method.startRollout, { id: rollout?.id ?? "" });
  if (started.rollout === undefined) throw new Error("there is no rollout");
  return started.rollout;
}

async function pausedRollout(name: string, reason: string, at = service): Promise<Rollout> {
  const rollout = await startRollout(name, false, at);
  await at.client().unary(method.pauseRollout, { id: rollout.id, reason });
  return rollout;
}

async function abort({ id }: Rollout): Promise<void> {
  await service.client().unary(method.abortRollout, { id });
}

/** The lines of alerts about something that a text names. */
function lines(page: Page, about: string | RegExp) {
  return page.getByRole("main").getByRole("listitem").filter({ hasText: about });
}

async function titleOf(page: Page, title: string): Promise<void> {
  await eventually(async () => expect(await page.title()).toBe(title));
}

describe("the overview", () => {
  it("says by itself what needs a person and what to do, in the title and on every page, until it is over", async () => {
    await using opened = await openSignedIn(browser, service.httpUrl, service.adminToken);
    const { page } = opened;
    const section = page.getByRole("region", { name: "Needs attention" });
    await section.getByText("Nothing needs a person.").waitFor();
    await page.getByRole("link", { name: "Alerts: Nothing needs attention" }).waitFor();
    expect(await page.title()).toBe("Overview · Device OTA");

    const { id } = await pausedRollout("spring", "a look first");
    const line = section.getByRole("listitem", { name: "Rollout paused" });
    await line.getByText("Rollout spring is paused: a look first.").waitFor();
    await line.getByText(/^began /).waitFor();
    await titleOf(page, "(1) Overview · Device OTA");
    await page.getByRole("status").getByText("1 alert needs attention").waitFor({ state: "attached" });
    await expectGoodLooks(page);

    await line.getByRole("link", { name: "Resume it, or roll it back" }).click();
    await page.getByRole("heading", { name: "spring", level: 1 }).waitFor();
    await titleOf(page, "(1) spring · Device OTA");
    await page.getByRole("button", { name: "Resume" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Resume" }).click();
    await page.getByRole("link", { name: "Alerts: Nothing needs attention" }).waitFor();
    await titleOf(page, "spring · Device OTA");

    await page.getByRole("link", { name: "Alerts: Nothing needs attention" }).click();
    await page.getByText("Nothing needs a person", { exact: true }).waitFor();
    await page.getByText("Ended", { exact: true }).click();
    await lines(page, "Rollout spring is paused")
      .getByText(/, ended /)
      .waitFor();
    expect(await lines(page, "spring").getByRole("link").allTextContents()).toEqual(["Look at it"]);
    expect(new URL(page.url()).search).toBe("?show=ended");
    await expectAccessible(page);
    await service.client().unary(method.abortRollout, { id });
    expect(opened.errors).toEqual([]);
  });

  it("tells a crash, an approval and a store in trouble apart, the critical one first, each with its own way on", async () => {
    const approval = await startRollout("autumn", true);
    await service.client(device.token).unary(HeartbeatService.method.sendHeartbeat, {
      deviceId: device.id,
      heartbeats: [
        { sequence: 1n, firmwareVersion: "1.0.0", bootId: "b", errors: [{ code: "PUMP_DRY", fatal: true }] },
      ],
    });
    await using opened = await openSignedIn(browser, service.httpUrl, service.adminToken);
    const { page } = opened;
    const approve = lines(page, "Rollout waits for approval");
    await approve.getByText("Rollout autumn waits for an approval before it starts.").waitFor();
    await approve.getByRole("link", { name: "Approve it" }).waitFor();
    await approve.getByText(/^An operator other than .* can approve ring all\.$/).waitFor();
    await lines(page, "New crash").getByText("PUMP_DRY").waitFor();

    const folder = join(service.dataDir, "storage");
    await rename(folder, `${folder}-away`);
    await writeFile(folder, "no folder");
    await lines(page, "Object store in trouble").getByText("device-ota doctor").waitFor();
    const titles = await page
      .getByRole("region", { name: "Needs attention" })
      .getByRole("heading", { level: 3 })
      .allTextContents();
    expect(titles[0]).toBe("Object store in trouble");
    await expectGoodLooks(page);
    await rm(folder);
    await rename(`${folder}-away`, folder);
    await lines(page, "Object store in trouble").waitFor({ state: "detached" });

    await lines(page, "New crash").getByRole("link", { name: "Look at the crash" }).click();
    await page.getByRole("heading", { name: "PUMP_DRY", level: 1 }).waitFor();
    const { groups } = await service.client().unary(ErrorService.method.listErrorGroups, {});
    const resolved = { id: groups[0]?.id ?? "", state: ErrorGroupState.RESOLVED };
    await service.client().unary(ErrorService.method.updateErrorGroup, resolved);
    await abort(approval);
    await page.getByRole("link", { name: "Alerts: Nothing needs attention" }).waitFor();
    expect(opened.errors).toEqual([]);
  });

  it("offers nothing that changes anything to who may only look", async () => {
    const rollout = await startRollout("winter", true);
    const viewer = await mintToken(service, Role.VIEWER);
    await using opened = await openSignedIn(browser, service.httpUrl, viewer.secret);
    const line = lines(opened.page, "winter");
    await line.getByRole("link", { name: "Look at it" }).waitFor();
    expect(await line.getByRole("link").count()).toBe(1);
    expect(await line.getByRole("button").count()).toBe(0);
    await abort(rollout);
    await line.waitFor({ state: "detached" });
    expect(opened.errors).toEqual([]);
  });
});

describe("an alert", () => {
  it("is acknowledged by keyboard with a note, and stays with it where somebody has taken note", async () => {
    const operator = await mintToken(service, Role.OPERATOR);
    const rollouts = [await pausedRollout("lagoon", "to be seen"), await pausedRollout("meadow", "as well")];
    await using opened = await openSignedIn(browser, `${service.httpUrl}/alerts`, operator.secret);
    const { page } = opened;
    await titleOf(page, "(2) Alerts · Device OTA");
    const button = lines(page, "meadow").getByRole("button", { name: "Acknowledge…" });
    await button.press("Enter");
    await page.getByLabel("Note").waitFor();
    await page.keyboard.press("Escape");
    await eventually(async () => expect(await button.evaluate(hasFocus)).toBe(true));

    await button.press("Enter");
    await page.getByLabel("Note").fill("mine, by noon");
    await expectAccessible(page);
    await page.getByRole("dialog").getByRole("button", { name: "Acknowledge" }).press("Enter");
    await lines(page, "meadow").waitFor({ state: "detached" });
    await titleOf(page, "(1) Alerts · Device OTA");
    // Its line went with the button that opened the dialog.
    const list = page.getByRole("list", { name: "Open alerts" });
    await eventually(async () => expect(await list.evaluate(hasFocus)).toBe(true));
    await page.getByRole("link", { name: "Overview" }).click();
    await page.getByRole("link", { name: "1 alert that somebody has taken note of" }).click();
    const taken = lines(page, "meadow");
    await taken.getByText(`${operator.name} took note`).waitFor();
    await taken.getByText("mine, by noon").waitFor();
    expect(await taken.getByRole("button", { name: "Acknowledge…" }).count()).toBe(0);
    await Promise.all(rollouts.map(abort));
    await page.getByText("Nobody is at an alert").waitFor();
    expect(opened.errors).toEqual([]);
  });

  it("that ends takes no words from who is writing, nor the keyboard's place", async () => {
    const rollout = await pausedRollout("harbour", "to be seen");
    await using opened = await openSignedIn(browser, `${service.httpUrl}/alerts`, service.adminToken);
    const { page } = opened;
    await lines(page, "harbour").getByRole("button", { name: "Acknowledge…" }).click();
    await page.getByLabel("Note").fill("on my way");
    await abort(rollout);
    await page.getByText("Nothing needs a person", { exact: true }).waitFor({ state: "attached" });
    expect(await page.getByLabel("Note").inputValue()).toBe("on my way");
    await page.getByRole("dialog").getByRole("button", { name: "Acknowledge" }).click();
    await page.getByLabel("Note").waitFor({ state: "detached" });
    await eventually(async () => expect(await page.locator("#main").evaluate(hasFocus)).toBe(true));
    const { alerts } = await service.client().unary(AlertService.method.listAlerts, {
      resourceId: rollout.id,
    });
    expect(alerts).toMatchObject([{ acknowledgementNote: "on my way" }]);

    const next = await pausedRollout("island", "to be seen");
    await lines(page, "island").getByRole("button", { name: "Acknowledge…" }).focus();
    await abort(next);
    await lines(page, "island").waitFor({ state: "detached" });
    await eventually(async () => expect(await page.locator("#main").evaluate(hasFocus)).toBe(true));
    expect(opened.errors).toEqual([]);
  });

  it("is not told as going on while it seems to be over", async () => {
    await using slow = await startTestService({ settings: { DEVICE_OTA_ALERT_RESOLVE_SECONDS: "3600" } });
    await enrolDevice(slow);
    const { id } = await pausedRollout("river", "to be seen", slow);
    await using opened = await openSignedIn(browser, slow.httpUrl, slow.adminToken);
    const line = lines(opened.page, "river");
    await line.getByRole("link", { name: "Resume it, or roll it back" }).waitFor();
    await slow.client().unary(method.resumeRollout, { id });
    await line.getByText(/^This seems to be over/).waitFor();
    expect(await line.getByRole("link").allTextContents()).toEqual(["Look at it"]);
    expect(opened.errors).toEqual([]);
  });
});

/** Runs in the page. */
function hasFocus(element: unknown): boolean {
  return (
    (globalThis as unknown as { document: { activeElement: unknown } }).document.activeElement === element
  );
}
