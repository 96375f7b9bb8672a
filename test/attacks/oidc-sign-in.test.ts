import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { AccessService } from "../../gen/ota/v1/access_service_pb.js";
import { eventually } from "../support/eventually.ts";
import { newIssuerKey, OidcIssuer } from "../support/oidc-issuer.ts";
import { startTestService, type TestService } from "../support/service.ts";

/** Somebody signs in to the console as somebody else, or has somebody else sign in as him. */

const cleanup = new AsyncDisposableStack();
let issuer: OidcIssuer;
let service: TestService;

beforeAll(async () => {
  issuer = cleanup.use(await OidcIssuer.start());
  service = cleanup.use(
    await startTestService({
      settings: {
        ...issuer.settings,
        DEVICE_OTA_RATE_LIMIT_SIGN_IN: "off",
        DEVICE_OTA_OIDC_LIMIT_CLAIM: "fleets",
        DEVICE_OTA_OIDC_LIMITS: JSON.stringify({
          all: { unlimited: true },
          "devices of  Berlin": { device_filter: "groups:berlin" },
        }),
      },
    }),
  );
});

afterAll(() => cleanup.disposeAsync());

afterEach(() => {
  issuer.person = alice;
  issuer.idTokenClaims = {};
  issuer.idTokenKey = undefined;
  issuer.intercept = undefined;
});

const alice = { sub: "s-alice", preferred_username: "alice", roles: ["device-ota-operator"] };

/** A browser as far as signing in needs one: it keeps cookies, and does not follow by itself where it is sent. */
class Browser {
  readonly cookies = new Map<string, string>();

  async open(url: string | URL): Promise<{ readonly status: number; readonly location: string }> {
    const { origin } = new URL(url);
    const isOurs = origin === service.httpUrl;
    const answer = await fetch(url, {
      redirect: "manual",
      headers: isOurs ? { cookie: this.#header() } : {},
    });
    if (isOurs) for (const line of answer.headers.getSetCookie()) this.#keep(line);
    await answer.body?.cancel();
    const location = answer.headers.get("location") ?? "";
    return { status: answer.status, location: location === "" ? "" : new URL(location, url).href };
  }

  /** Begins to sign in; where the issuer sends the browser back. */
  async begin(returnTo = "/rollouts?state=running"): Promise<string> {
    const begun = await this.open(
      `${service.httpUrl}/session/oidc?return_to=${encodeURIComponent(returnTo)}`,
    );
    return begun.location.startsWith(issuer.url)
      ? (await this.open(begun.location)).location
      : begun.location;
  }

  /** Signs in; where it ends up. */
  async signIn(returnTo?: string): Promise<string> {
    return (await this.open(await this.begin(returnTo))).location;
  }

  /** Who the service says that it is. */
  async whoAmI(): Promise<string> {
    const { actor, status } = await this.caller();
    return actor ?? String(status);
  }

  /** The same with what it is limited to. */
  async caller(): Promise<{
    readonly status: number;
    readonly actor?: string;
    readonly deviceFilter?: string;
  }> {
    const answer = await fetch(`${service.httpUrl}/api/v1/access/whoami`, {
      headers: { cookie: this.#header(), "x-ota-console": "1" },
    });
    return { status: answer.status, ...((await answer.json()) as object) };
  }

  #header(): string {
    return [...this.cookies].map(([name, value]) => `${name}=${value}`).join("; ");
  }

  #keep(line: string): void {
    const [name = "", value = ""] = (line.split(";")[0] ?? "").split("=");
    if (/max-age=0/i.test(line)) this.cookies.delete(name);
    else this.cookies.set(name, value);
  }
}

const refused = (reason: string) => `${service.httpUrl}/?sign_in_refused=${reason}`;

describe("signing in at the issuer", () => {
  it("opens a session for the person and leads back to where it began", async () => {
    issuer.person = alice;
    const browser = new Browser();
    expect(await browser.signIn()).toBe(`${service.httpUrl}/rollouts?state=running`);
    expect(await browser.whoAmI()).toBe("oidc:s-alice (alice)");
    // Nothing of the sign-in is left.
    expect([...browser.cookies.keys()]).toEqual(["ota_session"]);
  });

  it.each([
    "//evil.example",
    "/\\evil.example",
    "/.//evil.example",
    "https://evil.example/",
    "/\t/evil.example",
    "evil",
  ])("leads nowhere else, whatever the link says: %s", async (returnTo) => {
    issuer.person = alice;
    const { host } = new URL(await new Browser().signIn(returnTo));
    expect(host).toBe(new URL(service.httpUrl).host);
  });

  it("is refused in a browser that did not begin it: nobody is signed in as the sender of a link", async () => {
    issuer.person = { ...alice, sub: "s-mallory" };
    const link = await new Browser().begin();
    const victim = new Browser();
    expect((await victim.open(link)).location).toBe(refused("OIDC_SIGN_IN_FAILED"));
    // Also if the victim is just signing in.
    await victim.begin();
    expect((await victim.open(link)).location).toBe(refused("OIDC_SIGN_IN_FAILED"));
    expect(await victim.whoAmI()).toBe("401");
  });

  it("is refused with a code that was used, or that is not one", async () => {
    const browser = new Browser();
    const back = await browser.begin();
    const pending = new Map(browser.cookies);
    await browser.open(back);
    const thief = new Browser();
    for (const [name, value] of pending) thief.cookies.set(name, value);
    expect((await thief.open(back)).location).toBe(refused("OIDC_SIGN_IN_FAILED"));
    const other = new URL(await browser.begin());
    other.searchParams.set("code", "another");
    expect((await browser.open(other)).location).toBe(refused("OIDC_SIGN_IN_FAILED"));
  });

  it("is refused if the cookie of the sign-in was made up", async () => {
    const browser = new Browser();
    const back = await browser.begin();
    browser.cookies.set("ota_sign_in", Buffer.from(JSON.stringify({ state: "x" })).toString("base64url"));
    expect((await browser.open(back)).location).toBe(refused("OIDC_SIGN_IN_FAILED"));
  });

  it.each([
    ["was made for another sign-in", { nonce: "another" }],
    ["was made for another client", { aud: "another-client" }],
    ["comes from another issuer", { iss: "http://127.0.0.1:1" }],
    ["has expired", { exp: 1 }],
  ])("is refused if the ID token %s", async (_, claims) => {
    issuer.idTokenClaims = claims;
    expect(await new Browser().signIn()).toBe(refused("OIDC_SIGN_IN_FAILED"));
  });

  it("is refused if the ID token is signed with a key that is not the issuer's", async () => {
    issuer.idTokenKey = await newIssuerKey("ES256");
    expect(await new Browser().signIn()).toBe(refused("OIDC_SIGN_IN_FAILED"));
  });

  it("is refused for who has no role, and for who is shut out, whose session ends", async () => {
    issuer.person = { sub: "s-nobody", preferred_username: "nobody", roles: ["something"] };
    expect(await new Browser().signIn()).toBe(refused("OIDC_ROLE_MISSING"));

    issuer.person = { ...alice, sub: "s-bob", preferred_username: "bob" };
    const browser = new Browser();
    await browser.signIn();
    expect(await browser.whoAmI()).toBe("oidc:s-bob (bob)");
    const { listPeople, disablePerson } = AccessService.method;
    const { people } = await service.client().unary(listPeople, {});
    const id = people.find(({ subject }) => subject === "s-bob")?.id ?? "";
    await service.client().unary(disablePerson, { id });
    expect(await browser.whoAmI()).toBe("401");
    expect(await new Browser().signIn()).toBe(refused("PERSON_DISABLED"));
  });

  it("holds the session to the limits of the person's group, and is refused with none and with several", async () => {
    issuer.person = { ...alice, sub: "s-carol", fleets: ["devices of  Berlin"] };
    const browser = new Browser();
    await browser.signIn();
    expect(await browser.caller()).toMatchObject({
      actor: "oidc:s-carol (alice)",
      deviceFilter: "groups:berlin",
    });
    issuer.person = { ...alice, fleets: ["devices of Berlin"] };
    expect(await new Browser().signIn()).toBe(refused("OIDC_LIMITS_MISSING"));
    issuer.person = { ...alice, fleets: ["all", "devices of  Berlin"] };
    expect(await new Browser().signIn()).toBe(refused("OIDC_LIMITS_AMBIGUOUS"));
  });

  it("says so if the issuer does not answer, and goes on when it does", async () => {
    const browser = new Browser();
    const back = await browser.begin();
    issuer.intercept = (_request, response) => {
      response.destroy();
      return true;
    };
    expect((await browser.open(back)).location).toBe(refused("OIDC_ISSUER_UNAVAILABLE"));
    issuer.intercept = undefined;
    await eventually(async () => expect(await new Browser().signIn()).toContain("/rollouts"));
  });
});

describe("a session that was opened at the issuer", () => {
  it("is over when its person signs out, also for whoever has a copy of the cookie", async () => {
    const browser = new Browser();
    await browser.signIn();
    const copy = new Browser();
    for (const [name, value] of browser.cookies) copy.cookies.set(name, value);
    const cookie = `ota_session=${browser.cookies.get("ota_session")}`;
    await fetch(`${service.httpUrl}/session`, {
      method: "DELETE",
      headers: { cookie, "x-ota-console": "1" },
    });
    expect(await copy.whoAmI()).toBe("401");
  });

  it("cannot be made up: what it holds is no token", async () => {
    const { people } = await service.client().unary(AccessService.method.listPeople, {});
    const text = `person ${people[0]?.id} admin ${Date.now()}`;
    for (const token of [
      text,
      text.replaceAll(" ", "%20"),
      `ota_session_${Buffer.from(text).toString("base64url")}`,
    ]) {
      const { status } = await fetch(`${service.httpUrl}/api/v1/access/whoami`, {
        headers: { authorization: `Bearer ${token}` },
      });
      expect(status).toBe(401);
      const signIn = await fetch(`${service.httpUrl}/session`, {
        method: "POST",
        headers: { "x-ota-console": "1", "content-type": "application/json" },
        body: JSON.stringify({ token }),
      });
      expect([400, 401]).toContain(signIn.status);
    }
  });

  it("counts for no other site", async () => {
    const browser = new Browser();
    await browser.signIn();
    const cookie = `ota_session=${browser.cookies.get("ota_session")}`;
    const { status } = await fetch(`${service.httpUrl}/api/v1/access/whoami`, { headers: { cookie } });
    expect(status).toBe(401);
  });
});
