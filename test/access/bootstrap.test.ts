import { describe, expect, it } from "vitest";
import { adoptChosenSecrets, type FirstSecrets, makeFirstSecrets } from "../../src/access/bootstrap.ts";
import { type AccessReplica, joinAccess, silent, startAccess } from "./access-fixture.ts";

interface Presets {
  adminToken?: string;
  enrolmentKey?: string;
}

const anyDevice = { deviceType: "any", serialNumber: "sn-1" };

/** As a start does it; what it showed. */
async function start(replica: AccessReplica, presets: Presets = {}): Promise<FirstSecrets> {
  const { database, audit, authenticator, clock } = replica;
  const parts = { database, audit, memory: authenticator, clock, logger: silent, ...presets };
  let shown: FirstSecrets = { adminToken: undefined, enrolmentKey: undefined };
  await adoptChosenSecrets(parts);
  await makeFirstSecrets(parts, async (secrets) => {
    shown = secrets;
  });
  return shown;
}

describe("a start", () => {
  it("leaves the first secrets to the next one if it could not show them", async () => {
    await using replica = await startAccess();
    const { database, audit, authenticator: memory, clock } = replica;
    const failing = makeFirstSecrets({ database, audit, memory, clock, logger: silent }, () =>
      Promise.reject(new Error("no terminal")),
    );
    await expect(failing).rejects.toThrow("no terminal");
    expect(await replica.tokens.list({ limit: 10 })).toEqual([]);
    const { adminToken, enrolmentKey } = await start(replica);
    expect(await replica.authenticator.identify(adminToken ?? "")).toMatchObject({ role: "admin" });
    expect(enrolmentKey).toBeDefined();
  });

  it("makes an administrator's token and an enrolment key on the first start only", async () => {
    await using replica = await startAccess();
    const first = await start(replica);
    expect(await replica.authenticator.identify(first.adminToken ?? "")).toMatchObject({ role: "admin" });
    const em = replica.database.em();
    expect(await replica.enrolmentKeys.check(em, first.enrolmentKey ?? "", anyDevice)).toMatchObject({
      requireApproval: false,
    });
    expect(await start(replica)).toEqual({ adminToken: undefined, enrolmentKey: undefined });
    const events = await replica.audit.list({}, { limit: 10 });
    expect(events.map((event) => `${event.actor} ${event.action}`)).toEqual([
      "system:bootstrap enrolment_key.create",
      "system:bootstrap token.create",
    ]);
  });

  it("makes one of each when two replicas start at once", async () => {
    await using one = await startAccess();
    await using other = await joinAccess(one.url);
    const made = await Promise.all([start(one), start(other), start(one), start(other)]);
    expect(made.filter((secrets) => secrets.adminToken !== undefined)).toHaveLength(1);
    expect(made.filter((secrets) => secrets.enrolmentKey !== undefined)).toHaveLength(1);
    expect(await one.tokens.list({ limit: 10 })).toHaveLength(1);
    expect(await one.enrolmentKeys.list({ limit: 10 })).toHaveLength(1);
  });

  it("makes chosen secrets work and shows none, however often it starts", async () => {
    await using replica = await startAccess();
    const presets = { adminToken: "correct-horse-battery", enrolmentKey: "staple-for-line-3" };
    for (let starts = 0; starts < 3; starts++) {
      expect(await start(replica, presets)).toEqual({ adminToken: undefined, enrolmentKey: undefined });
    }
    expect(await replica.authenticator.identify(presets.adminToken)).toMatchObject({ role: "admin" });
    expect(await replica.tokens.list({ limit: 10 })).toHaveLength(1);
  });

  it("lets a changed secret replace the one chosen before, and nothing else", async () => {
    await using replica = await startAccess();
    const { adminToken: random } = await start(replica);
    await start(replica, { adminToken: "the-first-choice" });
    await replica.authenticator.identify("the-first-choice");
    await start(replica, { adminToken: "the-second-choice" });
    await expect((async () => replica.authenticator.identify("the-first-choice"))()).rejects.toMatchObject({
      reason: "CREDENTIAL_REVOKED",
    });
    expect(await replica.authenticator.identify("the-second-choice")).toMatchObject({ role: "admin" });
    expect(await replica.authenticator.identify(random ?? "")).toMatchObject({ role: "admin" });
  });

  it("does not bring a revoked secret back", async () => {
    await using replica = await startAccess();
    const presets = { adminToken: "leaked-long-ago-1" };
    await start(replica, presets);
    const [token] = await replica.tokens.list({ limit: 1 });
    const other = { name: "ada", role: "admin", requestId: undefined, expiresAt: undefined } as const;
    await replica.tokens.create({ actor: "operator:root", ...other });
    await replica.tokens.revoke({ actor: "operator:root", id: token?.id ?? "", reason: "leaked" });
    await start(replica, presets);
    await expect((async () => replica.authenticator.identify(presets.adminToken))()).rejects.toMatchObject({
      reason: "CREDENTIAL_REVOKED",
    });
  });

  it.each([
    [{ adminToken: "too-short" }, "DEVICE_OTA_ADMIN_TOKEN"],
    [{ adminToken: "with a blank in it" }, "DEVICE_OTA_ADMIN_TOKEN"],
    [{ adminToken: `ota_dev_${"a".repeat(43)}` }, "DEVICE_OTA_ADMIN_TOKEN"],
    [{ enrolmentKey: "k".repeat(129) }, "DEVICE_OTA_ENROLMENT_KEY"],
  ])("refuses %o and names the setting", async (presets, setting) => {
    await using replica = await startAccess();
    await expect(start(replica, presets)).rejects.toMatchObject({ fields: [{ field: setting }] });
  });
});
