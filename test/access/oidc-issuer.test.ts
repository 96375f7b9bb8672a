import type { ServerResponse } from "node:http";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Issuer, type IssuerSettings } from "../../src/access/oidc/issuer.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { newIssuerKey, OidcIssuer } from "../support/oidc-issuer.ts";
import { silent } from "./access-fixture.ts";

let server: OidcIssuer;

beforeAll(async () => {
  server = await OidcIssuer.start();
});

afterAll(() => server[Symbol.asyncDispose]());

/** What the service knows of the test's issuer once it has asked. */
async function asked(settings: Partial<IssuerSettings> = {}): Promise<Issuer> {
  const issuer = new Issuer({
    settings: {
      issuer: server.url,
      timeoutMs: 5_000,
      maxAnswerBytes: 65_536,
      refreshMs: 600_000,
      unknownKeyMs: 60_000,
      ...settings,
    },
    clock,
    logger: silent,
  });
  await issuer.round.run();
  return issuer;
}

const clock = new FakeClock();

/** Answers questions whose path has `part`. */
function answering(part: string, answer: (response: ServerResponse) => void): void {
  server.intercept = (request, response) => {
    if (request.url?.includes(part) !== true) return false;
    answer(response);
    return true;
  };
}

describe("an issuer's answer", () => {
  it.each<[string, string, (response: ServerResponse) => void]>([
    ["is endless", "configuration", endless],
    ["never comes", "configuration", () => {}],
    ["stops in the middle", "configuration", (response) => void response.write("{")],
    ["is no JSON", "configuration", (response) => void response.end("<html>")],
    [
      "is another issuer's",
      "configuration",
      (response) => void response.end(`{"issuer":"http://127.0.0.1/evil"}`),
    ],
    [
      "names no place of keys",
      "configuration",
      (response) => void response.end(JSON.stringify({ issuer: server.url })),
    ],
    [
      "names a place that is none of the web",
      "configuration",
      (response) => void response.end(JSON.stringify({ issuer: server.url, jwks_uri: "file:///etc/passwd" })),
    ],
    [
      "leads elsewhere",
      "configuration",
      (response) => void response.writeHead(302, { location: "/realms/test/keys" }).end(),
    ],
    ["has no keys", "keys", (response) => void response.end(`{"keys":[]}`)],
    [
      "has a key that everybody would have",
      "keys",
      (response) => void response.end(`{"keys":[{"kty":"oct","k":"AA"}]}`),
    ],
    [
      "has too many keys",
      "keys",
      (response) =>
        void response.end(JSON.stringify({ keys: Array.from({ length: 101 }, () => ({ kty: "EC" })) })),
    ],
  ])("that %s is not believed", async (_, part, answer) => {
    answering(part, answer);
    const issuer = await asked({ timeoutMs: 200 });
    expect(issuer.round.log).toMatchObject({ succeeded: 0, failed: 1 });
    await expect(issuer.metadata()).rejects.toMatchObject({ reason: "OIDC_ISSUER_UNAVAILABLE" });
    await issuer.close();
    server.intercept = undefined;
  });

  it("that fails later leaves the keys of before", async () => {
    const issuer = await asked();
    answering("keys", (response) => void response.writeHead(503).end());
    await issuer.round.run();
    expect(issuer.round.log).toMatchObject({ succeeded: 1, failed: 1 });
    const { kid, alg } = server.keys[0] ?? { kid: "", alg: "" };
    expect((await issuer.keyOf({ alg, kid })).type).toBe("public");
    await issuer.close();
    server.intercept = undefined;
  });
});

describe("a key that the issuer did not have", () => {
  it("is asked for at once, and the next one only after the pause", async () => {
    const issuer = await asked();
    const fresh = await newIssuerKey("ES256");
    server.keys.push(fresh);
    expect((await issuer.keyOf({ alg: "ES256", kid: fresh.kid })).type).toBe("public");
    const reads = server.keyReads;
    const stranger = { alg: "ES256", kid: "stranger" };
    for (let each = 0; each < 10; each++)
      await expect(issuer.keyOf(stranger)).rejects.toThrow(/no applicable key/);
    expect(server.keyReads).toBe(reads);
    clock.advance(60_000);
    await expect(issuer.keyOf(stranger)).rejects.toThrow(/no applicable key/);
    expect(server.keyReads).toBe(reads + 1);
    await issuer.close();
  });
});

/** Writes as long as somebody reads. */
function endless(response: ServerResponse): void {
  const write = (): void => {
    while (!response.destroyed && response.write(Buffer.alloc(65_536, " ")));
  };
  response.on("drain", write);
  write();
}
