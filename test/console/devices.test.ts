import pg from "pg";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Role } from "../../gen/ota/v1/access_pb.js";
import { AccessService } from "../../gen/ota/v1/access_service_pb.js";
import { DeviceService } from "../../gen/ota/v1/device_service_pb.js";
import { comparatorsOf, filterFields } from "../../src/console/filter/filter-fields.ts";
import { deviceFilterFields } from "../../src/device/filter/filter-fields.ts";
import { fieldComparators } from "../../src/filter/filter.ts";
import { eventually } from "../support/eventually.ts";
import { startTestService, type TestService } from "../support/service.ts";
import { expectAccessible, launchBrowser, openSignedIn } from "./browser.ts";

const fleetSize = 100_000;

let service: TestService;
let browser: Browser;

beforeAll(async () => {
  [service, browser] = await Promise.all([startTestService(), launchBrowser()]);
  await seedFleet(service.databaseUrl);
});

afterAll(async () => {
  await browser.close();
  await service[Symbol.asyncDispose]();
});

/** Puts the devices into the database as if they had enrolled and beaten once: enrolling them would take minutes. */
async function seedFleet(databaseUrl: string): Promise<void> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    const id = "('01900000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid";
    const series = `generate_series(0, ${fleetSize - 1}) AS n`;
    await client.query(`
      INSERT INTO devices (id, serial_number, device_type, hardware_model, groups)
      SELECT ${id}, 'sn-' || n, 'thermostat', 'model-' || (n % 4), ARRAY['group-' || (n % 50)] FROM ${series}`);
    await client.query(`
      INSERT INTO device_state (device_id, last_seen_at, epoch, last_sequence, firmware_version, boot_id, uptime_ms,
                                battery_percent, charging, storage_free_bytes, security_counter)
      SELECT ${id}, now() - n % 60 * interval '1 second', 1, 0, '1.0.0', 'boot', 1000, 20 + n * 7 % 80, false, 1e9, 0
        FROM ${series}`);
    await client.query("ANALYZE devices, device_state");
  } finally {
    await client.end();
  }
}

/** The filter of the list, as one writes it. */
function filterOf(page: Page) {
  return page.getByRole("textbox", { name: "Filter" }).or(page.getByRole("combobox", { name: "Filter" }));
}

async function countOf(filter: string): Promise<number> {
  const { count } = await service.client().unary(DeviceService.method.countDevices, { filter });
  return Number(count);
}

describe("the table of 100,000 devices", () => {
  it("counts all, draws only what is in sight, and reads on as one scrolls", async () => {
    await using opened = await openSignedIn(browser, `${service.httpUrl}/devices`, service.adminToken);
    const { page } = opened;
    await page.getByText("100,000", { exact: true }).waitFor();
    const table = page.getByRole("table", { name: "devices" });
    expect(await table.getAttribute("aria-rowcount")).toBe("100001");
    const box = page.getByRole("region", { name: "Table of devices" });
    // Newest first: their numbers fall.
    await page.getByRole("link", { name: "sn-99999", exact: true }).waitFor();
    // At the top: elsewhere a row may be half below the head, which axe takes for a target that is too small.
    await expectAccessible(page);
    const last = table.locator("tbody tr[aria-rowindex]").last();
    await eventually(async () => {
      await box.press("End");
      expect(Number(await last.getAttribute("aria-rowindex"))).toBeGreaterThan(1_500);
    });
    // Read at once, because the table may still be moving.
    const rows = await page.evaluate<[place: string, serialNumber: string][]>(
      `[...document.querySelectorAll("tbody tr[aria-rowindex]")].map((row) =>
        [row.getAttribute("aria-rowindex"), row.querySelector("a").textContent])`,
    );
    expect(rows.map(([, serialNumber]) => serialNumber)).toEqual(
      rows.map(([place]) => `sn-${fleetSize + 1 - Number(place)}`),
    );
    const drawn = await table.locator("tbody tr").count();
    expect(drawn).toBeLessThan(100);
    expect(opened.errors).toEqual([]);
  });

  it("is ordered by a column's head, and the address says so", async () => {
    await using opened = await openSignedIn(browser, `${service.httpUrl}/devices`, service.adminToken);
    const { page } = opened;
    await page.getByRole("button", { name: "Device", exact: true }).press("Enter");
    await page.getByRole("link", { name: "sn-0", exact: true }).waitFor();
    expect(new URL(page.url()).searchParams.get("order")).toBe("serial_number");
    await page.getByRole("button", { name: "Battery" }).click();
    await page
      .getByRole("columnheader", { name: "Battery", exact: false })
      .and(page.locator("[aria-sort=ascending]"))
      .waitFor();
    await page.getByRole("cell", { name: "20 %" }).first().waitFor();
    await page.reload();
    await page.getByRole("cell", { name: "20 %" }).first().waitFor();
    expect(opened.errors).toEqual([]);
  });
});

describe("the filter", () => {
  it("is written by keyboard with the completion's help", async () => {
    await using opened = await openSignedIn(browser, `${service.httpUrl}/devices`, service.adminToken);
    const { page } = opened;
    await filterOf(page).focus();
    await page.keyboard.type("hard");
    const field = page.getByRole("option", { name: "hardware_model" });
    await field.waitFor();
    await page.keyboard.press("ArrowDown");
    await field.and(page.locator("[aria-selected=true], [data-combobox-selected]")).waitFor();
    await page.keyboard.press("Enter");
    await eventually(async () => expect(await filterOf(page).inputValue()).toBe("hardware_model "));
    await page.keyboard.type("= model-1");
    expect(await filterOf(page).inputValue()).toBe("hardware_model = model-1");
    await page.getByRole("option", { name: "model-1" }).waitFor({ state: "hidden" });
    await page.keyboard.press("Enter");
    await page.getByText("25,000 matches").waitFor();
    expect(new URL(page.url()).searchParams.get("filter")).toBe("hardware_model = model-1");
    expect(opened.errors).toEqual([]);
  });

  it("says what is wrong and where, and a deep link shows the same", async () => {
    const wrong = encodeURIComponent("battery_percent < many");
    await using opened = await openSignedIn(
      browser,
      `${service.httpUrl}/devices?filter=${wrong}`,
      service.adminToken,
    );
    const { page } = opened;
    const fault = page.getByRole("alert");
    await fault.getByText(/^At character 19: /).waitFor();
    expect(await fault.locator("mark").textContent()).toBe("m");
    await expectAccessible(page);
  });

  it("is kept under a name for everybody, and forgotten again", async () => {
    const filter = 'groups : "group-7"';
    const address = `${service.httpUrl}/devices?filter=${encodeURIComponent(filter)}`;
    await using opened = await openSignedIn(browser, address, service.adminToken);
    const { page } = opened;
    await page.getByText("2,000 matches").waitFor();
    await page.getByRole("button", { name: "Saved filters" }).click();
    await page.getByRole("menuitem", { name: "Save this filter…" }).click();
    await page.getByLabel("Name").fill("The seventh group");
    await page.keyboard.press("Enter");
    await page.getByRole("button", { name: "The seventh group", exact: true }).waitFor();
    await page.goto(`${service.httpUrl}/devices`);
    await page.getByRole("button", { name: "Saved filters" }).click();
    await page.getByRole("menuitem", { name: "The seventh group" }).click();
    await page.getByText("2,000 matches").waitFor();
    await page.getByRole("button", { name: "The seventh group", exact: true }).click();
    await page.getByRole("button", { name: "Forget The seventh group" }).click();
    await page.getByRole("button", { name: "Forget it" }).click();
    await page.getByRole("button", { name: "Saved filters" }).waitFor();
    const { savedFilters } = await service.client().unary(DeviceService.method.listSavedFilters, {});
    expect(savedFilters).toEqual([]);
  });

  it("knows the fields and comparators that the service knows", () => {
    const known = Object.fromEntries(
      filterFields.map(({ name, kind }) => [name, comparatorsOf(kind).toSorted()]),
    );
    expect(known).toEqual(
      Object.fromEntries(
        deviceFilterFields.map(({ name, kind }) => [name, fieldComparators[kind].toSorted()]),
      ),
    );
    for (const { name, values } of deviceFilterFields) {
      const offered = filterFields.find((field) => field.name === name)?.values;
      expect(offered?.toSorted(), name).toEqual(values?.toSorted());
    }
  });
});

describe("a bulk change", () => {
  it("says how many it will change, and changes exactly those", async () => {
    const filter = "serial_number = sn-12*";
    const matches = await countOf(filter);
    const address = `${service.httpUrl}/devices?filter=${encodeURIComponent(filter)}`;
    await using opened = await openSignedIn(browser, address, service.adminToken);
    const { page } = opened;
    await page.getByRole("button", { name: `Change all ${matches.toLocaleString("en")}…` }).click();
    await page.getByRole("combobox", { name: "Groups" }).fill("beta");
    await page.keyboard.press("Enter");
    await page.getByRole("button", { name: "Count and confirm…" }).click();
    await page.getByText(`${matches.toLocaleString("en")} devices will be put into beta.`).waitFor();
    await expectAccessible(page);
    expect(await countOf("groups:beta")).toBe(0);
    const change = page.getByRole("button", { name: `Change ${matches.toLocaleString("en")}` });
    await change.click();
    await change.waitFor({ state: "hidden" });
    expect(await countOf("groups:beta")).toBe(matches);
    expect(await countOf(`groups:beta AND ${filter}`)).toBe(matches);
    expect(opened.errors).toEqual([]);
  });

  it("retires what was chosen one by one only after the number was typed", async () => {
    const address = `${service.httpUrl}/devices?filter=${encodeURIComponent("serial_number = sn-77*")}`;
    await using opened = await openSignedIn(browser, address, service.adminToken);
    const { page } = opened;
    await page.getByRole("checkbox", { name: "Choose sn-77999", exact: true }).check();
    await page.getByRole("checkbox", { name: "Choose sn-77998", exact: true }).press("Space");
    await page.getByRole("button", { name: "Change them…" }).click();
    await page.getByRole("combobox", { name: "What to do" }).click();
    await page.getByRole("option", { name: "Retire" }).click();
    await page.getByRole("button", { name: "Count and confirm…" }).click();
    await page.getByText("2 devices will be taken out of service.").waitFor();
    const retire = page.getByRole("button", { name: "Retire 2" });
    expect(await retire.isDisabled()).toBe(true);
    await page.getByLabel("Type 2 to confirm").fill("2");
    await retire.click();
    await retire.waitFor({ state: "hidden" });
    expect(await countOf("serial_number = sn-77999 OR serial_number = sn-77998")).toBe(0);
    expect(opened.errors).toEqual([]);
  });

  it("is not offered to those who may only look", async () => {
    const { secret } = await service
      .client()
      .unary(AccessService.method.createToken, { name: "looker", role: Role.VIEWER });
    await using opened = await openSignedIn(browser, `${service.httpUrl}/devices`, secret);
    const { page } = opened;
    await page.getByRole("link", { name: /^sn-/ }).first().waitFor();
    expect(await page.getByRole("button", { name: /^Change/ }).count()).toBe(0);
    expect(await page.getByRole("checkbox").count()).toBe(0);
  });
});
