import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Role } from "../../gen/ota/v1/access_pb.js";
import { AccessService } from "../../gen/ota/v1/access_service_pb.js";
import { DeviceService } from "../../gen/ota/v1/device_service_pb.js";
import { RolloutService } from "../../gen/ota/v1/rollout_service_pb.js";
import { enrolDevice, newContent, publish } from "../support/door-clients.ts";
import { eventually } from "../support/eventually.ts";
import { OidcIssuer } from "../support/oidc-issuer.ts";
import { startTestService, type TestService } from "../support/service.ts";
import { expectAccessible, launchBrowser, openConsole, openSignedIn, signIn, visit } from "./browser.ts";

let issuer: OidcIssuer;
let service: TestService;
let browser: Browser;

beforeAll(async () => {
  issuer = await OidcIssuer.start();
  const { settings } = issuer;
  [service, browser] = await Promise.all([startTestService({ settings }), launchBrowser()]);
});

afterAll(async () => {
  await browser.close();
  await service[Symbol.asyncDispose]();
  await issuer[Symbol.asyncDispose]();
});

async function makeToken(role: Role) {
  const { secret, token } = await service
    .client()
    .unary(AccessService.method.createToken, { name: "alice", role });
  return { secret, id: token?.id ?? "" };
}

describe("signing in", () => {
  it("refuses a wrong token in words and keeps the deep link for the right one", async () => {
    await using opened = await openConsole(browser, `${service.httpUrl}/firmware?product=none`);
    const { page } = opened;
    await expectAccessible(page);
    await page.getByLabel("Token", { exact: true }).fill("ota_op_wrong");
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByText("the credential is not one of this service").waitFor();
    await signIn(page, service.adminToken);
    await page.getByRole("heading", { name: "Firmware", level: 1 }).waitFor();
    expect(new URL(page.url()).search).toBe("?product=none");
    await page.getByText("No firmware matches").waitFor();
    expect(opened.errors).toEqual([]);
  });

  it("keeps the token from scripts and survives a reload, until somebody signs out", async () => {
    await using opened = await openSignedIn(browser, service.httpUrl, service.adminToken);
    const { page } = opened;
    expect(await page.evaluate<string>("document.cookie + JSON.stringify(localStorage)")).not.toContain(
      "ota_session",
    );
    await page.reload();
    await page.getByRole("button", { name: /^Signed in as/ }).click();
    await page.getByRole("menuitem", { name: "Sign out" }).click();
    await page.getByLabel("Token", { exact: true }).waitFor();
    await page.reload();
    await page.getByLabel("Token", { exact: true }).waitFor();
  });

  it("ends with the token", async () => {
    const { secret, id } = await makeToken(Role.VIEWER);
    await using opened = await openSignedIn(browser, `${service.httpUrl}/rollouts`, secret);
    await service.client().unary(AccessService.method.revokeToken, { id, reason: "left" });
    await opened.page.goto(`${service.httpUrl}/firmware`);
    await opened.page.getByLabel("Token", { exact: true }).waitFor();
    expect(await opened.page.getByRole("navigation").count()).toBe(0);
  });
});

describe("signing in at the issuer", () => {
  it("leads back to the deep link as the person, until it signs out", async () => {
    issuer.person = { sub: "s-1", preferred_username: "ada", roles: ["device-ota-operator"] };
    await using opened = await openConsole(browser, `${service.httpUrl}/firmware?product=none`);
    const { page } = opened;
    await page.getByRole("link", { name: "Sign in with Test ID" }).click();
    await page.getByRole("button", { name: /^Signed in as ada/ }).click();
    expect(new URL(page.url()).pathname + new URL(page.url()).search).toBe("/firmware?product=none");
    await page.getByRole("menuitem", { name: "Sign out" }).click();
    await page.getByLabel("Token", { exact: true }).waitFor();
    expect(opened.errors).toEqual([]);
  });

  it("tells who has no role which claim is missing, and no words of a link's own", async () => {
    issuer.person = { sub: "s-2", roles: [] };
    await using opened = await openConsole(browser, service.httpUrl);
    const { page } = opened;
    await page.getByRole("link", { name: "Sign in with Test ID" }).click();
    await page.getByRole("alert").getByText("it belongs into the claim roles or groups").waitFor();
    await expectAccessible(page);
    await page.goto(`${service.httpUrl}/?sign_in_refused=Call+0900`);
    await page.getByRole("alert").getByText("The sign-in was not finished in this browser").waitFor();
    expect(await page.getByText("0900").count()).toBe(0);
    expect(opened.errors).toEqual([]);
  });
});

describe("roles", () => {
  it("a viewer is offered nothing that changes anything", async () => {
    const { secret } = await makeToken(Role.VIEWER);
    await using opened = await openSignedIn(browser, `${service.httpUrl}/firmware`, secret);
    const { page } = opened;
    await page.getByText("No firmware yet").waitFor();
    expect(await page.getByRole("link", { name: "New firmware" }).count()).toBe(0);
    await page.getByRole("link", { name: "Access" }).click();
    await page.getByRole("tab", { name: "Signing keys" }).waitFor();
    expect(await page.getByRole("tab").allTextContents()).toEqual(["Signing keys"]);
    expect(await page.getByRole("button", { name: "Register a key" }).count()).toBe(0);
    expect(opened.errors).toEqual([]);
  });

  it("a token that is limited is offered what it may open, and begins with its devices", async () => {
    const { id } = await enrolDevice(service, { serialNumber: "sn-of-berlin" });
    await enrolDevice(service, { serialNumber: "sn-of-munich" });
    const groups = { names: ["berlin"] };
    await service.client().unary(DeviceService.method.updateDevice, { id, groups });
    const { secret } = await service.client().unary(AccessService.method.createToken, {
      name: "berlin",
      role: Role.OPERATOR,
      deviceFilter: "groups:berlin",
    });
    await using opened = await openSignedIn(browser, service.httpUrl, secret);
    const { page } = opened;
    await page.getByText("sn-of-berlin").waitFor();
    expect(await page.getByText("sn-of-munich").count()).toBe(0);
    expect(await page.getByRole("navigation").getByRole("link").allTextContents()).toEqual([
      "Devices",
      "Rollouts",
      "Firmware",
      "Access",
    ]);
    expect(await page.getByRole("button", { name: "Saved filters" }).count()).toBe(0);
    await page.getByRole("link", { name: "Rollouts" }).click();
    await page.getByRole("link", { name: "New rollout" }).first().waitFor();
  });

  it("a token that is limited calls nothing that it is refused", async () => {
    const client = service.client();
    const { id } = await enrolDevice(service, { serialNumber: "sn-of-limits" });
    await client.unary(DeviceService.method.updateDevice, { id, groups: { names: ["limits"] } });
    const firmware = await publish(service, newContent(100));
    const { secret } = await client.unary(AccessService.method.createToken, {
      name: "limited",
      role: Role.OPERATOR,
      deviceFilter: "groups:limits",
    });
    const { rollout } = await service.client(secret).unary(RolloutService.method.createRollout, {
      firmwareId: firmware.id,
      rings: [{ name: "all", percent: 100 }],
    });
    await using opened = await openSignedIn(browser, `${service.httpUrl}/devices`, secret);
    const { page } = opened;
    const show = async (path: string, text: string) => {
      await visit(page, service.httpUrl + path);
      await page.getByText(text).first().waitFor();
      expect(await page.getByText("Live", { exact: true }).count()).toBe(
        path.startsWith("/rollouts/0") ? 1 : 0,
      );
      // Nor is it led to where all would be refused.
      expect(await page.locator('a[href^="/crashes"]').count()).toBe(0);
    };
    await show("/devices", "sn-of-limits");
    await show(`/devices/${id}`, "Nothing in this time");
    for (const tab of ["map", "updates", "errors"]) await show(`/devices/${id}?tab=${tab}`, "sn-of-limits");
    await show("/firmware", firmware.version);
    await show(`/firmware/${firmware.id}`, "Where it runs now");
    await show("/rollouts", firmware.version);
    await show(`/rollouts/${rollout?.id}`, "Rings");
    await show(`/rollouts/new?firmware=${firmware.id}`, "Only groups");
    await show("/alerts", "your token is limited");
    await show("/access", "Signing keys");
    // Refused calls are on record soon after they were made: this one too.
    await expect(service.client(secret).unary(AccessService.method.listTokens, {})).rejects.toThrow();
    const refused = await eventually(async () => {
      const { events } = await client.unary(AccessService.method.listAuditEvents, {
        actor: "operator:limited",
        resourceType: "method",
      });
      expect(events).not.toEqual([]);
      return events.map(({ resourceId }) => resourceId);
    });
    expect(refused).toEqual(["ota.v1.AccessService/ListTokens"]);
    expect(opened.errors).toEqual([]);
  });

  it("an administrator makes a token that is shown once, and revokes it by typing its name", async () => {
    await using opened = await openSignedIn(browser, `${service.httpUrl}/access`, service.adminToken);
    const { page } = opened;
    await page.getByRole("button", { name: "New token" }).click();
    await page.getByLabel("Name").fill("bob");
    await page.getByLabel("Owner").fill("bob@example.com");
    await page.getByLabel("Only devices that match this filter").fill("groups:berlin");
    await page.getByRole("button", { name: "Make the token" }).click();
    const secret =
      (await page
        .getByRole("dialog")
        .getByText(/^ota_op_/)
        .textContent()) ?? "";
    expect(secret).toMatch(/^ota_op_.{40,}/);
    await page.getByRole("button", { name: "I have it" }).click();
    const row = page.getByRole("row", { name: /^bob/ });
    await row.getByText("bob@example.com").waitFor();
    await row.getByText("groups:berlin").waitFor();
    await page.getByRole("button", { name: "Revoke bob" }).click();
    const revoke = page.getByRole("button", { name: "Revoke it" });
    expect(await revoke.isDisabled()).toBe(true);
    await page.getByLabel("Type bob to confirm").fill("bob");
    await revoke.click();
    await row.getByText("Revoked").waitFor();
    await expect(service.client(secret).unary(AccessService.method.whoAmI, {})).rejects.toThrow("revoked");
    expect(opened.errors).toEqual([]);
  });
});
