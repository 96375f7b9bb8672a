import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Role } from "../../gen/ota/v1/access_pb.js";
import { AccessService } from "../../gen/ota/v1/access_service_pb.js";
import { openDoors } from "../api/doors.ts";
import { http, mintToken } from "../support/door-clients.ts";
import { startTestService, type TestService } from "../support/service.ts";
import { whoAmI } from "../support/who-am-i.ts";

/** Somebody tries tokens: what is tried costs little, and whoever has a token and the same address does not notice. */

const limit = 5;

let service: TestService;

beforeEach(async () => {
  service = await startTestService({
    settings: { DEVICE_OTA_RATE_LIMIT_CREDENTIAL: `${limit}/hour` },
  });
});

afterEach(() => service[Symbol.asyncDispose]());

/** Why a door refuses a token; undefined where it does not. */
async function reasonOf(door: keyof typeof whoAmI, token: string): Promise<string | undefined> {
  return (await whoAmI[door](service, token)).refusal?.reason;
}

describe("guessed tokens", () => {
  it.each(["grpc", "connect", "rest"] as const)(
    "are refused without a look-up after some, at every door, when they came by %s",
    async (door) => {
      const seen = await mintToken(service, Role.VIEWER);
      const unseen = await mintToken(service, Role.VIEWER);
      expect(await reasonOf(door, seen.secret)).toBeUndefined();
      for (let each = 0; each < limit; each++) {
        expect(await reasonOf(door, `guess-number-${each}`)).toBe("CREDENTIAL_INVALID");
      }
      for (const other of ["grpc", "connect", "rest"] as const) {
        expect(await reasonOf(other, `another-guess-${other}`)).toBe("RATE_LIMITED");
        // The same guess again, which is remembered as wrong.
        expect(await reasonOf(other, "guess-number-0")).toBe("RATE_LIMITED");
        // Even a right guess is none as long as nobody looks.
        expect(await reasonOf(other, unseen.secret)).toBe("RATE_LIMITED");
        expect(await reasonOf(other, seen.secret)).toBeUndefined();
      }
    },
  );

  it("say when to try again", async () => {
    const tries = Array.from({ length: limit + 1 }, (_, each) => `guess-number-${each}`);
    let last: Awaited<ReturnType<typeof http>> | undefined;
    for (const token of tries) last = await http(service, "GET", "/api/v1/access/whoami", { token });
    expect(last?.status).toBe(429);
    expect(Number(last?.headers.get("retry-after"))).toBeGreaterThan(0);
  });

  it("are none if they were revoked: who comes with such a token is told so, as often as it comes", async () => {
    const lost = await mintToken(service, Role.VIEWER);
    await service.client().unary(AccessService.method.revokeToken, { id: lost.id, reason: "lost" });
    for (let each = 0; each < 2 * limit; each++) {
      expect(await reasonOf("grpc", lost.secret)).toBe("CREDENTIAL_REVOKED");
    }
    expect(await reasonOf("grpc", "guess-number-0")).toBe("CREDENTIAL_INVALID");
  });
});

it("guessed tokens are a line of the log now and then, and not a line each", async () => {
  await using opened = await openDoors({ services: [AccessService], endpoints: [] });
  const guesses = Array.from({ length: 100 }, (_, each) =>
    fetch(`${opened.httpUrl}/api/v1/access/whoami`, { headers: { authorization: `Bearer guess-${each}` } }),
  );
  for (const { status } of await Promise.all(guesses)) expect(status).toBe(401);
  const shown = opened.logged.filter(({ level }) => Number(level) >= 30);
  const lines = shown.filter(({ msg }) => msg === "refused calls without a valid credential");
  expect(lines).toMatchObject([{ count: 1, reasons: { CREDENTIAL_INVALID: 1 } }]);
  expect(JSON.stringify(shown)).not.toContain("guess-");
});
