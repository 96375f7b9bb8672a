import { createHmac, createPublicKey, type JsonWebKey } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Role } from "../../gen/ota/v1/access_pb.js";
import { AccessService } from "../../gen/ota/v1/access_service_pb.js";
import { DeviceService } from "../../gen/ota/v1/device_service_pb.js";
import { RolloutService } from "../../gen/ota/v1/rollout_service_pb.js";
import type { RpcClient } from "../../src/client/rpc-client.ts";
import {
  connectClient,
  enrolDevice,
  http,
  httpRefusal,
  newContent,
  publish,
  refusal,
} from "../support/door-clients.ts";
import { eventually } from "../support/eventually.ts";
import { newIssuerKey, OidcIssuer } from "../support/oidc-issuer.ts";
import { startTestService, type TestService } from "../support/service.ts";
import { toldAtAllDoors, whoAmI, whoAmIPath } from "../support/who-am-i.ts";

/** Somebody makes tokens that the OpenID Connect issuer did not make, or has some that it made for something else. */

const cleanup = new AsyncDisposableStack();
let issuer: OidcIssuer;
let service: TestService;

beforeAll(async () => {
  issuer = cleanup.use(await OidcIssuer.start());
  issuer.keys.push(await newIssuerKey("RS256"));
  service = cleanup.use(await startTestService({ settings: { ...issuer.settings, ...limits } }));
});

afterAll(() => cleanup.disposeAsync());

/** What people of the issuer's fleets are limited to. */
const limits = {
  DEVICE_OTA_OIDC_LIMIT_CLAIM: "fleets",
  DEVICE_OTA_OIDC_LIMITS: JSON.stringify({
    all: { unlimited: true },
    berlin: { device_filter: "groups:berlin" },
    boilers: { products: ["boiler"] },
  }),
};

/** Who each door says that the caller is, or why it refuses. */
const everyDoor = (token: string, at = service) => toldAtAllDoors(at, token, "actor");

/** Who REST says that the caller is, or why it refuses. */
async function rest(token: string): Promise<string | undefined> {
  const answer = await whoAmI.rest(service, token);
  return answer.refusal?.reason ?? answer.actor;
}

function thrice(answer: string): string[] {
  return [answer, answer, answer];
}

const now = () => Math.floor(Date.now() / 1_000);

function encoded(part: object): string {
  return Buffer.from(JSON.stringify(part)).toString("base64url");
}

/** A token that says what a right one says, signed by `sign`. */
async function forged(header: object, sign: (input: string) => string): Promise<string> {
  const [, payload] = (await issuer.accessToken({ roles: ["device-ota-admin"] })).split(".");
  const input = `${encoded(header)}.${payload}`;
  return `${input}.${sign(input)}`;
}

describe("the issuer's access token", () => {
  it("is a credential at every door, whose audit name is subject and name", async () => {
    expect(await everyDoor(await issuer.accessToken())).toEqual(thrice("oidc:248289761001 (ada)"));
    const { role } = await service.client(await issuer.accessToken()).unary(AccessService.method.whoAmI, {});
    expect(role).toBe(Role.VIEWER);
  });

  it("counts with each of the issuer's keys, also without a name for it where only one fits", async () => {
    for (const key of issuer.keys) {
      expect(await rest(await issuer.accessToken({}, {}, key))).toMatch(/^oidc:/);
      expect(await rest(await issuer.accessToken({}, { kid: undefined }, key))).toMatch(/^oidc:/);
    }
  });

  it.each([
    ["is meant for somebody else", { aud: "another-service" }],
    ["is meant for nobody", { aud: undefined }],
    ["comes from another issuer", { iss: "http://127.0.0.1:1/realms/test" }],
    ["is not yet good", { nbf: now() + 3_600 }],
    ["never expires", { exp: undefined }],
    ["has no subject", { sub: undefined }],
    ["has a subject that would break a line of the log", { sub: "1\nroot" }],
    ["is an ID token", { nonce: "n-0S6_WzA2Mj" }],
    ["is a refresh token of Keycloak's", { typ: "Refresh" }],
  ])("is refused if it %s", async (_, claims) => {
    expect(await everyDoor(await issuer.accessToken(claims))).toEqual(thrice("CREDENTIAL_INVALID"));
  });

  it("is refused if it has expired", async () => {
    expect(await everyDoor(await issuer.accessToken({ exp: now() - 60 }))).toEqual(
      thrice("CREDENTIAL_EXPIRED"),
    );
    // Within the clocks' tolerance.
    expect(await rest(await issuer.accessToken({ exp: now() - 5 }))).toMatch(/^oidc:/);
  });

  it("is refused once it has expired, also when it was let in before", async () => {
    const settings = { ...issuer.settings, DEVICE_OTA_OIDC_CLOCK_TOLERANCE_SECONDS: "0" };
    await using exact = await startTestService({ settings });
    // The issuer's keys are there, and the connections open.
    await everyDoor(await issuer.accessToken(), exact);
    // Another one, where a busy machine did not come to all doors in time.
    const token = await eventually(async () => {
      const short = await issuer.accessToken({ exp: now() + 3 });
      expect(await everyDoor(short, exact)).toEqual(thrice("oidc:248289761001 (ada)"));
      return short;
    });
    await eventually(async () => expect(await everyDoor(token, exact)).toEqual(thrice("CREDENTIAL_EXPIRED")));
  });

  it("is refused if its name is one of this service, and cannot pass for somebody by its name", async () => {
    const names = { preferred_username: "eve\n\u001b[2K\u202eoperator:root (admin)" };
    expect(await rest(await issuer.accessToken({ sub: "666", ...names }))).toBe(
      "oidc:666 (eve [2K operator:root (admin))",
    );
  });
});

describe("a signature", () => {
  it("is needed: alg none is refused, in whatever case and with or without one", async () => {
    for (const alg of ["none", "None", "NONE", ""]) {
      expect(await everyDoor(await forged({ alg, typ: "at+jwt" }, () => ""))).toEqual(
        thrice("CREDENTIAL_INVALID"),
      );
      expect(await rest(await forged({ alg, typ: "at+jwt" }, () => "AAAA"))).toBe("CREDENTIAL_INVALID");
    }
  });

  it("is no HMAC under the public key, in whatever form an attacker has that", async () => {
    for (const { kid, publicJwk } of issuer.keys) {
      const key = createPublicKey({ key: publicJwk as JsonWebKey, format: "jwk" });
      const forms = [
        key.export({ type: "spki", format: "pem" }),
        key.export({ type: "spki", format: "der" }),
        JSON.stringify(publicJwk),
      ];
      for (const form of forms) {
        const token = await forged({ alg: "HS256", kid, typ: "at+jwt" }, (input) =>
          createHmac("sha256", form).update(input).digest("base64url"),
        );
        expect(await everyDoor(token)).toEqual(thrice("CREDENTIAL_INVALID"));
      }
    }
  });

  it("is no right one over other claims, nor under an algorithm that is not allowed", async () => {
    const [header, , signature] = (await issuer.accessToken()).split(".");
    const [, payload] = (await issuer.accessToken({ roles: ["device-ota-admin"] })).split(".");
    expect(await everyDoor(`${header}.${payload}.${signature}`)).toEqual(thrice("CREDENTIAL_INVALID"));
    const weak = await newIssuerKey("RS384");
    issuer.keys.push(weak);
    expect(await everyDoor(await issuer.accessToken({}, {}, weak))).toEqual(thrice("CREDENTIAL_INVALID"));
    issuer.keys.pop();
  });

  it("is made by no key that the token brings or points to, and nobody is asked for one", async () => {
    const own = await newIssuerKey("ES256");
    let asked = 0;
    const server = createServer((_request, response) => {
      asked++;
      response.end(JSON.stringify({ keys: [own.publicJwk] }));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/keys`;
    const known = issuer.keys[0]?.kid;
    for (const header of [
      { jwk: own.publicJwk },
      { jku: url, kid: own.kid },
      { x5u: url, kid: own.kid },
      { jku: url, jwk: own.publicJwk, kid: known },
      { kid: "../../../../etc/passwd" },
      { kid: "' OR 1=1 --" },
    ]) {
      const token = await issuer.accessToken({ roles: ["device-ota-admin"] }, header, own);
      expect(await everyDoor(token)).toEqual(thrice("CREDENTIAL_INVALID"));
    }
    expect(asked).toBe(0);
    server.close();
  });
});

describe("a flood", () => {
  it("of keys that nobody has asks the issuer once a minute", async () => {
    const strange = await Promise.all(Array.from({ length: 20 }, () => newIssuerKey("ES256")));
    const tokens = await Promise.all(strange.map((key) => issuer.accessToken({}, {}, key)));
    const before = issuer.keyReads;
    for (const token of tokens) expect(await rest(token)).toBe("CREDENTIAL_INVALID");
    expect(issuer.keyReads - before).toBeLessThanOrEqual(1);
  });

  it("of a token of a megabyte is refused, and the next call is answered", async () => {
    const huge = `${await issuer.accessToken()}${"A".repeat(1024 * 1024)}`;
    const answers = await Promise.allSettled([
      http(service, "GET", whoAmIPath, { token: huge }),
      service.client(huge).unary(AccessService.method.whoAmI, {}),
    ]);
    const letIn = answers.filter((answer) => answer.status === "fulfilled" && !isTooLarge(answer.value));
    expect(letIn).toEqual([]);
    expect(await everyDoor(await issuer.accessToken())).toEqual(thrice("oidc:248289761001 (ada)"));
  });

  it("of wrong tokens is limited as one of guesses is", async () => {
    await using limited = await startTestService({
      settings: { ...issuer.settings, DEVICE_OTA_RATE_LIMIT_CREDENTIAL: "3/hour" },
    });
    const seen = await issuer.accessToken();
    const statusOf = async (token: string) => (await http(limited, "GET", whoAmIPath, { token })).status;
    expect(await statusOf(seen)).toBe(200);
    for (let each = 0; each < 3; each++)
      expect(await statusOf(await issuer.accessToken({ aud: "x" }))).toBe(401);
    expect(await statusOf(await issuer.accessToken())).toBe(429);
    expect(await statusOf(seen)).toBe(200);
  });
});

describe("roles", () => {
  it("come from the claims of the settings, the highest counts, and those of others count for nothing", async () => {
    const roleOf = async (claims: object) => {
      const token = await issuer.accessToken({ roles: undefined, ...claims });
      return (await service.client(token).unary(AccessService.method.whoAmI, {})).role;
    };
    expect(await roleOf({ roles: ["device-ota-viewer", "device-ota-admin", "x"] })).toBe(Role.ADMIN);
    expect(await roleOf({ groups: ["device-ota-operator"] })).toBe(Role.OPERATOR);
    expect(await roleOf({ roles: "device-ota-viewer" })).toBe(Role.VIEWER);
  });

  it.each([
    ["none", undefined],
    ["others'", ["admin", "DEVICE-OTA-ADMIN", "constructor", "__proto__"]],
    ["no text", [null, 7, ["device-ota-admin"], { "device-ota-admin": true }]],
  ])("that are %s are refused with the name of the claim", async (_, roles) => {
    const token = await issuer.accessToken({ roles });
    expect(await everyDoor(token)).toEqual(thrice("OIDC_ROLE_MISSING"));
    await expect(service.client(token).unary(AccessService.method.whoAmI, {})).rejects.toThrow(
      /oidc:248289761001 \(ada\) has no role here: the claim roles or groups must name one of device-ota-viewer/,
    );
  });

  it("of a viewer change nothing", async () => {
    const viewer = service.client(await issuer.accessToken());
    const call = viewer.unary(AccessService.method.createToken, { name: "mine", role: Role.ADMIN });
    expect(await refusal(call)).toMatchObject({ code: "PERMISSION_DENIED", reason: "ROLE_REQUIRED" });
  });
});

describe("limits", () => {
  const operators = { roles: ["device-ota-operator"] };

  it("hold a person to what its group is limited to, at every door and for all that it asks", async () => {
    const { listDevices, updateDevice, getDeviceStatusOverview } = DeviceService.method;
    const { id: mine } = await enrolDevice(service);
    const { id: theirs } = await enrolDevice(service);
    await service.client().unary(updateDevice, { id: mine, groups: { names: ["berlin"] } });
    const token = await issuer.accessToken({ ...operators, fleets: ["berlin", "chess club"] });
    const person = service.client(token);
    expect(await person.unary(AccessService.method.whoAmI, {})).toMatchObject({
      deviceFilter: "groups:berlin",
    });
    const { devices } = await person.unary(listDevices, {});
    expect(devices.map(({ id }) => id)).toEqual([mine]);
    const outOfScope = { code: "PERMISSION_DENIED", reason: "OUT_OF_SCOPE" };
    for (const call of [
      () => person.unary(updateDevice, { id: theirs, displayName: "ours" }),
      () => person.unary(getDeviceStatusOverview, {}),
      () => connectClient(service, DeviceService, token).getDevice({ id: theirs }),
    ])
      expect(await refusal(call())).toMatchObject(outOfScope);
    expect(httpRefusal(await http(service, "GET", `/api/v1/devices/${theirs}`, { token }))).toMatchObject(
      outOfScope,
    );
    await person.unary(updateDevice, { id: mine, displayName: "ours" });

    const boilers = service.client(await issuer.accessToken({ ...operators, fleets: "boilers" }));
    expect(await refusal(boilers.unary(updateDevice, { id: mine, displayName: "theirs" }))).toMatchObject(
      outOfScope,
    );
    const all = service.client(await issuer.accessToken(operators));
    expect((await all.unary(listDevices, {})).devices.length).toBeGreaterThan(1);
  });

  it.each([
    ["none", undefined],
    ["an empty list", []],
    ["others'", ["Berlin", "toString", "__proto__", "*", "berlin,all"]],
    ["no text", [null, ["all"], { all: true }]],
  ])("that are %s open nothing, but for administrators", async (_, fleets) => {
    expect(await everyDoor(await issuer.accessToken({ ...operators, fleets }))).toEqual(
      thrice("OIDC_LIMITS_MISSING"),
    );
    expect(await rest(await issuer.accessToken({ roles: ["device-ota-admin"], fleets }))).toMatch(/^oidc:/);
  });

  it("that are several open nothing: nobody knows which the person is to have", async () => {
    for (const fleets of [
      ["berlin", "boilers"],
      ["berlin", "all"],
    ])
      expect(await everyDoor(await issuer.accessToken({ ...operators, fleets }))).toEqual(
        thrice("OIDC_LIMITS_AMBIGUOUS"),
      );
    expect(await rest(await issuer.accessToken({ ...operators, fleets: ["berlin", "berlin"] }))).toMatch(
      /^oidc:/,
    );
  });

  it("whose filter is none do not let the service start", async () => {
    const DEVICE_OTA_OIDC_LIMITS = '{"berlin": {"device_filter": "groups:berlin) OR (groups:*"}}';
    await expect(
      startTestService({ settings: { ...issuer.settings, DEVICE_OTA_OIDC_LIMITS } }),
    ).rejects.toThrow(/DEVICE_OTA_OIDC_LIMITS: the device_filter of berlin/);
  });
});

describe("four eyes", () => {
  const { createRollout, startRollout, approveRollout } = RolloutService.method;

  async function waitingOf(client: RpcClient): Promise<string> {
    const { id: firmwareId } = await publish(service, newContent(100));
    const rings = [{ name: "all", percent: 100, gate: { requireApproval: true } }];
    const { rollout } = await client.unary(createRollout, { firmwareId, rings });
    await client.unary(startRollout, { id: rollout?.id ?? "" });
    return rollout?.id ?? "";
  }

  it("are not those of a person and of a token that is the person's, nor of one that the person made", async () => {
    const roles = { roles: ["device-ota-admin"] };
    const ada = service.client(await issuer.accessToken(roles));
    const grace = service.client(
      await issuer.accessToken({ ...roles, sub: "7", preferred_username: "grace" }),
    );
    const tokenOf = async (client: RpcClient, name: string, owner: string) => {
      const role = Role.OPERATOR;
      const { secret } = await client.unary(AccessService.method.createToken, { name, owner, role });
      return service.client(secret);
    };
    const adas = await tokenOf(service.client(), "night shift", "oidc:248289761001");
    const made = await tokenOf(ada, "build server", "");
    const refused = { code: "PERMISSION_DENIED", reason: "FOUR_EYES" };
    for (const [creator, other] of [
      [adas, made],
      [made, adas],
    ] as const) {
      const id = await waitingOf(creator);
      expect(await refusal(ada.unary(approveRollout, { id }))).toMatchObject(refused);
      expect(await refusal(other.unary(approveRollout, { id }))).toMatchObject(refused);
      await grace.unary(approveRollout, { id });
    }
    const id = await waitingOf(ada);
    for (const approver of [adas, made]) {
      expect(await refusal(approver.unary(approveRollout, { id }))).toMatchObject(refused);
    }
  });
});

describe("an issuer", () => {
  it("that rotates its keys is followed, and what a key signed that it withdrew counts no more", async () => {
    await using own = await OidcIssuer.start();
    await using rotating = await startTestService({
      settings: {
        ...own.settings,
        DEVICE_OTA_OIDC_REFRESH_SECONDS: "10",
        DEVICE_OTA_OIDC_UNKNOWN_KEY_SECONDS: "1",
      },
    });
    const statusOf = async (token: string) => (await http(rotating, "GET", whoAmIPath, { token })).status;
    const before = await own.accessToken();
    expect(await statusOf(before)).toBe(200);
    own.keys = [await newIssuerKey("ES256")];
    expect(await statusOf(await own.accessToken())).toBe(200);
    expect(await statusOf(before)).toBe(401);
  });

  it("that is away does not keep the service from starting, and is waited for", async () => {
    const first = await OidcIssuer.start();
    const { settings, port, keys } = first;
    const token = await first.accessToken();
    await first[Symbol.asyncDispose]();
    await using early = await startTestService({
      settings: { ...settings, DEVICE_OTA_OIDC_REFRESH_SECONDS: "10" },
    });
    const answer = await http(early, "GET", whoAmIPath, { token });
    expect(httpRefusal(answer)).toMatchObject({ code: "UNAVAILABLE", reason: "OIDC_ISSUER_UNAVAILABLE" });
    expect(answer.headers.get("retry-after")).not.toBeNull();
    expect((await http(early, "GET", whoAmIPath, { token: early.adminToken })).status).toBe(200);
    expect(await (await fetch(`${early.httpUrl}/metrics`)).text()).toContain(
      'device_ota_background_runs_total{work="oidc_issuer",outcome="failed"}',
    );
    await using _back = await OidcIssuer.start(port, keys);
    await eventually(async () => expect((await http(early, "GET", whoAmIPath, { token })).status).toBe(200));
  });
});

/** RFC 6585, section 5. */
function isTooLarge(answer: object): boolean {
  return "status" in answer && answer.status === 431;
}
