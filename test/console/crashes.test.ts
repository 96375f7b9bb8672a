import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Role } from "../../gen/ota/v1/access_pb.js";
import { AccessService } from "../../gen/ota/v1/access_service_pb.js";
import type { ErrorGroup } from "../../gen/ota/v1/error_group_pb.js";
import { ErrorService } from "../../gen/ota/v1/error_service_pb.js";
import { HeartbeatService } from "../../gen/ota/v1/heartbeat_service_pb.js";
import { type EnrolledDevice, enrolDevice } from "../support/door-clients.ts";
import { eventually } from "../support/eventually.ts";
import { startTestService, type TestService } from "../support/service.ts";
import { expectAccessible, expectGoodLooks, launchBrowser, openSignedIn, visit } from "./browser.ts";

const { method } = ErrorService;

let service: TestService;
let browser: Browser;
let device: EnrolledDevice;

beforeAll(async () => {
  [service, browser] = await Promise.all([startTestService(), launchBrowser()]);
  device = await enrolDevice(service);
  await report("HEATER_READ", pythonStack("heater", "read"), 3);
  await report("HEATER_WRITE", pythonStack("heater", "write"), 1);
  await report("FAN_START", pythonStack("fan", "start"), 2);
  await report("AGENT_CRASH", coredump, 1);
});

afterAll(async () => {
  await browser.close();
  await service[Symbol.asyncDispose]();
});

let sequence = 0n;

/** Has the device report an error, some times, and waits until its group counts them. */
async function report(code: string, stack: string, times: number): Promise<void> {
  const errors = Array.from({ length: times }, () => ({
    code,
    message: `${code} of bus 1 failed`,
    stack,
    fatal: true,
  }));
  await service.client(device.token).unary(HeartbeatService.method.sendHeartbeat, {
    deviceId: device.id,
    heartbeats: [{ sequence: ++sequence, firmwareVersion: "1.2.0", bootId: "b1", errors }],
  });
  await eventually(async () => expect((await groupOf(code))?.occurrenceCount).toBe(BigInt(times)));
}

/** The group of a code that lists show. */
async function groupOf(code: string): Promise<ErrorGroup | undefined> {
  const { groups } = await service.client().unary(method.listErrorGroups, { text: code });
  return groups[0];
}

async function addressOf(code: string): Promise<string> {
  return `${service.httpUrl}/crashes/${(await groupOf(code))?.id ?? ""}`;
}

function pythonStack(module: string, name: string): string {
  return [
    "Traceback (most recent call last):",
    '  File "/opt/app/main.py", line 88, in run',
    `  File "/opt/app/${module}.py", line 41, in ${name}`,
    "KeyError: 'eco'",
  ].join("\n");
}

const symbolFolder = join(import.meta.dirname, "../crash/symbols");

/** Of the build whose symbols are `agent-1.elf`. */
const buildId = "614eef2f214e4e0f9793d8a65a3f636734e807dc";

const coredump = `Module agent with build-id ${buildId}
Stack trace of thread 77:
#0  0x00005581aaaa0001 n/a (agent + 0x1f5)
#1  0x00005581aaaa0002 n/a (agent + 0x1ff)
`;

describe("the pages of crash groups, rules and symbol files, in light, in dark and on a phone", () => {
  it("are accessible and fit", async () => {
    await using opened = await openSignedIn(browser, service.httpUrl, service.adminToken);
    const { page } = opened;
    const native = await groupOf("AGENT_CRASH");
    for (const path of [
      "/crashes",
      `/crashes/${native?.id}`,
      "/crashes/rules",
      `/crashes/rules?example=${native?.id}`,
      "/crashes/symbols",
    ]) {
      await visit(page, service.httpUrl + path);
      await expectGoodLooks(page);
    }
    expect(opened.errors).toEqual([]);
  });
});

describe("error groups", () => {
  it("are merged into one of those that were chosen, and split off again", async () => {
    await using opened = await openSignedIn(browser, `${service.httpUrl}/crashes`, service.adminToken);
    const { page } = opened;
    const groups = page.getByRole("table", { name: "error groups" });
    const choice = (title: string) => groups.getByRole("checkbox", { name: `Choose KeyError in ${title}` });
    await choice("heater.read").press("Space");
    await page.getByText("1 group chosen").waitFor();
    expect(await page.getByRole("button", { name: "Merge…" }).count()).toBe(0);
    await choice("heater.write").check();
    await page.getByRole("button", { name: "Merge…" }).click();
    const dialog = page.getByRole("dialog");
    expect(await dialog.getByRole("radio", { name: "KeyError in heater.read" }).isChecked()).toBe(true);
    await dialog.getByRole("radio", { name: "KeyError in heater.write" }).check();
    await expectAccessible(page);
    await dialog.getByLabel("Reason").fill("one driver");
    await dialog.getByRole("button", { name: "Merge them" }).click();

    await page.getByRole("heading", { name: "KeyError in heater.write", level: 1 }).waitFor();
    const why = page.getByRole("region", { name: "Why it is one group" });
    await why.getByText("stack (python): KeyError, in heater.write, called by main.run").waitFor();
    await why.getByText("3 times").waitFor();
    await page.getByText(/^4 times on 1 device/).waitFor();
    expect((await groupOf("HEATER"))?.occurrenceCount).toBe(4n);
    await expectAccessible(page);

    await why.getByRole("link", { name: "KeyError in heater.read" }).click();
    await page.getByText("counts its errors as well").waitFor();
    await page.getByRole("link", { name: "Show that group" }).waitFor();
    await expectAccessible(page);
    expect(await page.getByRole("button", { name: "Resolve" }).count()).toBe(0);
    await page.getByRole("button", { name: "Split off KeyError in heater.read" }).click();
    await page.getByRole("dialog").getByLabel("Reason").fill("two after all");
    await page.getByRole("dialog").getByRole("button", { name: "Split it off" }).click();
    await page.getByRole("button", { name: "Resolve" }).waitFor();
    expect((await groupOf("HEATER_WRITE"))?.occurrenceCount).toBe(1n);
    expect((await groupOf("HEATER_READ"))?.occurrenceCount).toBe(3n);
    expect(opened.errors).toEqual([]);
  });

  it("are not for viewers to change", async () => {
    const { secret } = await service
      .client()
      .unary(AccessService.method.createToken, { name: "looks on", role: Role.VIEWER });
    await using opened = await openSignedIn(browser, `${service.httpUrl}/crashes`, secret);
    const { page } = opened;
    const groups = page.getByRole("table", { name: "error groups" });
    await groups.getByRole("link", { name: "KeyError in fan.start" }).waitFor();
    expect(await groups.getByRole("checkbox").count()).toBe(0);
    await visit(page, `${service.httpUrl}/crashes/rules`);
    expect(await page.getByRole("region", { name: "New rule" }).count()).toBe(0);
    await visit(page, `${service.httpUrl}/crashes/symbols`);
    expect(await page.getByRole("button", { name: "Upload symbols" }).count()).toBe(0);
    expect(opened.errors).toEqual([]);
  });
});

describe("a grouping rule", () => {
  it("is written for a group, tried on its newest report, and decides from then on until it is deleted", async () => {
    await using opened = await openSignedIn(browser, await addressOf("FAN_START"), service.adminToken);
    const { page } = opened;
    await page.getByRole("link", { name: "Write a rule for it" }).click();
    const rule = page.getByRole("region", { name: "New rule" });
    expect(await rule.getByLabel("Code", { exact: true }).inputValue()).toBe("FAN_START");
    await rule.getByText("The rule holds for this report.").waitFor();
    await rule.getByLabel("Frame").fill("heater.*");
    await rule.getByText("The rule does not hold for this report.").waitFor();
    const tried = rule.getByRole("table", { name: "Conditions" });
    await tried.getByRole("row", { name: "Frame fan.start main.run no" }).waitFor();
    await tried.getByRole("row", { name: "Code FAN_START yes" }).waitFor();
    await tried.getByRole("row", { name: "Message FAN_START of bus 1 failed always" }).waitFor();
    await rule.getByLabel("Frame").fill("FAN.*");
    await rule.getByText("The rule holds for this report.").waitFor();
    await rule.getByLabel("Title of its group").fill("The fan");
    await expectAccessible(page);
    await rule.getByRole("button", { name: "Add the rule" }).click();
    const rules = page.getByRole("table", { name: "grouping rules" });
    await rules.getByRole("row", { name: /^1 The fan Code FAN_START Frame FAN\.\*/ }).waitFor();

    await report("FAN_START", pythonStack("fan", "start"), 1);
    expect((await groupOf("The fan"))?.groupedBy).toBe("rule “The fan”: code FAN_START, frame FAN.*");
    await rules.getByRole("button", { name: "Delete the rule The fan" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Delete it" }).click();
    await page.getByText("No rules", { exact: true }).waitFor();
    expect(opened.errors).toEqual([]);
  });
});

describe("symbol files", () => {
  it("are asked for by the builds that lack one, uploaded, and deleted", async () => {
    await using opened = await openSignedIn(browser, await addressOf("AGENT_CRASH"), service.adminToken);
    const { page } = opened;
    const lines = page.getByRole("region", { name: "Source lines" });
    await lines.getByRole("button", { name: "Look up" }).click();
    await lines.getByText(`None: no symbol file of build ${buildId} was uploaded.`).waitFor();
    await lines.getByRole("link", { name: "Symbol files" }).click();
    const missing = page.getByRole("region", { name: "Missing" });
    await missing.getByRole("row", { name: /^614eef2f214e4e0f… \(copy\) agent 1/ }).waitFor();

    await choose(page, { name: "agent.txt", mimeType: "text/plain", buffer: Buffer.from("no ELF") });
    await page.getByRole("alert").getByText("The file is no ELF file.", { exact: false }).waitFor();
    const buffer = await readFile(join(symbolFolder, "agent-1.elf"));
    await choose(page, { name: "agent-1.elf", mimeType: "application/octet-stream", buffer });
    await page.getByText("agent-1.elf is here.").waitFor();
    const files = page.getByRole("table", { name: "symbol files" });
    await files.getByRole("row", { name: /^agent-1\.elf 614eef2f214e4e0f… \(copy\) 3 / }).waitFor();
    await missing.getByText(/^None: /).waitFor();
    await expectAccessible(page);

    await files.getByRole("button", { name: "Delete the symbols agent-1.elf" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Delete it" }).click();
    await page.getByText("No symbol files").waitFor();
    await missing.getByRole("row", { name: /agent 1/ }).waitFor();
    expect(opened.errors).toEqual([]);
  });
});

async function choose(page: Page, file: { name: string; mimeType: string; buffer: Buffer }): Promise<void> {
  await page.locator('input[type="file"]').setInputFiles(file);
}
