import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AccessService } from "../../gen/ota/v1/access_service_pb.js";
import { DeviceService } from "../../gen/ota/v1/device_service_pb.js";
import { RolloutState } from "../../gen/ota/v1/rollout_pb.js";
import { RolloutService } from "../../gen/ota/v1/rollout_service_pb.js";
import type { RpcClient } from "../../src/client/rpc-client.ts";
import { http, newContent, publish, refusal } from "../support/door-clients.ts";
import { eventually } from "../support/eventually.ts";
import { OidcIssuer } from "../support/oidc-issuer.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { runCli } from "../support/run-cli.ts";
import { startTestService, type TestService } from "../support/service.ts";

/** A person of the OpenID Connect issuer who must stay out, and one who would be two people. */

const { listPeople, disablePerson, enablePerson, endPersonSessions, listAuditEvents, createToken } =
  AccessService.method;

const cleanup = new AsyncDisposableStack();
let issuer: OidcIssuer;
let home: TestService;
let elsewhere: TestService;

beforeAll(async () => {
  issuer = cleanup.use(await OidcIssuer.start());
  const { url: databaseUrl } = cleanup.use(await createTestDatabase());
  const { settings } = issuer;
  home = cleanup.use(await startTestService({ databaseUrl, settings }));
  elsewhere = cleanup.use(await startTestService({ databaseUrl, settings }));
});

afterAll(() => cleanup.disposeAsync());

async function statusOf(service: TestService, token: string): Promise<number> {
  return (await http(service, "GET", "/api/v1/access/whoami", { token })).status;
}

/** The id under which the service knows a person who has come. */
async function idOf(subject: string): Promise<string> {
  const { people } = await home.client().unary(listPeople, {});
  return people.find((person) => person.subject === subject)?.id ?? "";
}

/** Long enough for the clocks' tolerance. */
const later = () => Math.floor(Date.now() / 1_000) + 60;

describe("a person who is shut out", () => {
  it("is refused on all replicas with every token, and its streams end, until it is let in with new ones", async () => {
    const sub = "shut-out";
    const token = await issuer.accessToken({ sub });
    expect(await statusOf(elsewhere, token)).toBe(200);
    const watch = elsewhere
      .client(token)
      .serverStream(DeviceService.method.watchFleet, {})
      [Symbol.asyncIterator]();
    await watch.next();

    const id = await idOf(sub);
    await home.client().unary(disablePerson, { id, reason: "left the company" });
    expect(await statusOf(home, token)).toBe(401);
    await eventually(async () => expect(await statusOf(elsewhere, token)).toBe(401));
    const rest = async () => {
      while ((await watch.next()).done !== true);
    };
    expect(await refusal(rest())).toMatchObject({ code: "UNAUTHENTICATED", reason: "PERSON_DISABLED" });
    expect(await statusOf(elsewhere, await issuer.accessToken({ sub, iat: later() }))).toBe(401);

    await home.client().unary(enablePerson, { id });
    expect(await statusOf(home, token)).toBe(401);
    const fresh = await issuer.accessToken({ sub, iat: later() });
    await eventually(async () => expect(await statusOf(elsewhere, fresh)).toBe(200));
    const { events } = await home.client().unary(listAuditEvents, { resourceId: id });
    expect(events.map(({ action, reason }) => [action, reason])).toEqual([
      ["person.enable", ""],
      ["person.disable", "left the company"],
    ]);
  });

  it("is not another one, and nobody without the role shuts anybody out", async () => {
    const admin = await issuer.accessToken({ sub: "an-admin", roles: ["device-ota-admin"] });
    const viewer = await issuer.accessToken({ sub: "a-viewer" });
    expect([await statusOf(home, admin), await statusOf(home, viewer)]).toEqual([200, 200]);
    const id = await idOf("an-admin");
    expect(await refusal(home.client(viewer).unary(disablePerson, { id }))).toMatchObject({
      reason: "ROLE_REQUIRED",
    });
    await home.client(admin).unary(disablePerson, { id: await idOf("a-viewer") });
    expect([await statusOf(home, admin), await statusOf(home, viewer)]).toEqual([200, 401]);
    expect(await refusal(home.client().unary(disablePerson, { id: newId }))).toMatchObject({
      reason: "NOT_FOUND",
    });
  });
});

const newId = "018f3a52-0000-7000-8000-000000000000";

describe("sessions that are ended", () => {
  it("are those of before, on all replicas", async () => {
    const sub = "lost-a-laptop";
    const token = await issuer.accessToken({ sub });
    expect(await statusOf(elsewhere, token)).toBe(200);
    await home.client().unary(endPersonSessions, { id: await idOf(sub) });
    await eventually(async () => expect(await statusOf(elsewhere, token)).toBe(401));
    expect(await statusOf(elsewhere, await issuer.accessToken({ sub, iat: later() }))).toBe(200);
  });
});

describe("the command line", () => {
  it("lists people and shuts one out", async () => {
    const token = await issuer.accessToken({ sub: "by-command" });
    expect(await statusOf(home, token)).toBe(200);
    const run = async (...args: string[]) => {
      const env = { DEVICE_OTA_SERVER: home.grpcAddress, DEVICE_OTA_TOKEN: home.adminToken };
      const { exitCode, stdout, stderr } = await runCli(args, { cwd: home.dataDir, env });
      expect(exitCode, stderr).toBe(0);
      return stdout;
    };
    expect(await run("person", "list")).toMatch(/ada +by-command .*may sign in/);
    const id = await idOf("by-command");
    expect(await run("person", "disable", id, "--reason", "gone")).toContain("oidc:by-command (ada)");
    expect(await statusOf(home, token)).toBe(401);
  });
});

describe("four eyes", () => {
  const { createRollout, startRollout, approveRollout } = RolloutService.method;

  it("are those of two subjects, whatever these are called, and not of a person and the token that it made", async () => {
    const tokenOf = (sub: string, preferredUsername: string) =>
      issuer.accessToken({ sub, preferred_username: preferredUsername, roles: ["device-ota-admin"] });
    const alice = home.client(await tokenOf("s-1", "alice"));
    const { secret } = await alice.unary(createToken, { name: "alice's other hand", role: 3 });

    const { id: firmwareId } = await publish(home, newContent(100));
    const rings = [{ name: "all", percent: 100, gate: { requireApproval: true } }];
    const { rollout } = await alice.unary(createRollout, { firmwareId, rings });
    const id = rollout?.id ?? "";
    expect(rollout?.creator).toBe("oidc:s-1 (alice)");
    await alice.unary(startRollout, { id });

    const renamed = home.client(await tokenOf("s-1", "bob"));
    for (const same of [alice, renamed, home.client(secret)]) {
      expect(await refusal(same.unary(approveRollout, { id }))).toMatchObject({ reason: "FOUR_EYES" });
    }
    // Tokens that somebody else made for the person, and what such a token made.
    const made = async (maker: RpcClient, name: string, owner: string) =>
      home.client((await maker.unary(createToken, { name, role: 3, owner })).secret);
    const own = await made(home.client(), "for scripts", "oidc:s-1");
    const named = await made(home.client(), "for more scripts", "oidc:s-1 (alice)");
    for (const same of [own, named, await made(own, "a hand of scripts", "carol")]) {
      expect(await refusal(same.unary(approveRollout, { id }))).toMatchObject({ reason: "FOUR_EYES" });
    }
    const namesake = home.client(await tokenOf("s-2", "alice"));
    expect((await namesake.unary(approveRollout, { id })).rollout?.state).toBe(RolloutState.RUNNING);
  });
});
