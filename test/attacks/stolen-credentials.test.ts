import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Role } from "../../gen/ota/v1/access_pb.js";
import { AccessService } from "../../gen/ota/v1/access_service_pb.js";
import { DeviceService } from "../../gen/ota/v1/device_service_pb.js";
import { connectClient, http, mintToken, refusal } from "../support/door-clients.ts";
import { eventually } from "../support/eventually.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { startTestService, type TestService } from "../support/service.ts";

/** Somebody has a copy of what an operator signed out of or revoked, and uses it at another replica. */

const cleanup = new AsyncDisposableStack();
let home: TestService;
let elsewhere: TestService;

beforeAll(async () => {
  const { url: databaseUrl } = cleanup.use(await createTestDatabase({ partitioned: true }));
  home = cleanup.use(await startTestService({ databaseUrl }));
  elsewhere = cleanup.use(await startTestService({ databaseUrl }));
});

afterAll(() => cleanup.disposeAsync());

const fromConsole = { "x-ota-console": "1" };

async function signIn(service: TestService): Promise<string> {
  const answer = await http(service, "POST", "/session", {
    body: { token: service.adminToken },
    headers: fromConsole,
  });
  expect(answer.status).toBe(200);
  return answer.headers.get("set-cookie")?.split(";")[0] ?? "";
}

async function statusWith(service: TestService, cookie: string): Promise<number> {
  const { status } = await http(service, "GET", "/api/v1/access/whoami", {
    headers: { ...fromConsole, cookie },
  });
  return status;
}

/** Opens WatchFleet as a browser of the console does, and waits for the first answer. */
async function watchWith(service: TestService, cookie: string): Promise<{ ended: Promise<string> }> {
  const response = await fetch(`${service.httpUrl}/${DeviceService.typeName}/WatchFleet`, {
    method: "POST",
    headers: {
      ...fromConsole,
      cookie,
      "content-type": "application/connect+json",
      "connect-protocol-version": "1",
    },
    body: Buffer.concat([Buffer.of(0, 0, 0, 0, 2), Buffer.from("{}")]),
  });
  const chunks = (response.body as ReadableStream<Uint8Array>)[Symbol.asyncIterator]();
  await chunks.next();
  const toTheEnd = async (): Promise<string> => {
    let text = "";
    for (let next = await chunks.next(); next.done !== true; next = await chunks.next()) {
      text += Buffer.from(next.value).toString("latin1");
    }
    return text;
  };
  return { ended: toTheEnd() };
}

describe("a copy of a session's cookie", () => {
  it("is worth nothing on any replica after its owner signed out, and its streams end", async () => {
    const cookie = await signIn(home);
    const other = await signIn(home);
    expect(await statusWith(elsewhere, cookie)).toBe(200);
    const { ended } = await watchWith(elsewhere, cookie);

    const signedOut = await http(home, "DELETE", "/session", { headers: { ...fromConsole, cookie } });
    expect(signedOut.status).toBe(200);
    expect(await statusWith(home, cookie)).toBe(401);
    await eventually(async () => expect(await statusWith(elsewhere, cookie)).toBe(401));
    expect(await ended).toContain("unauthenticated");
    expect(await statusWith(elsewhere, other)).toBe(200);
  });

  it("is worth nothing after a restart either", async () => {
    const cookie = await signIn(home);
    await http(home, "DELETE", "/session", { headers: { ...fromConsole, cookie } });
    await using restarted = await startTestService({ databaseUrl: home.databaseUrl });
    expect(await statusWith(restarted, cookie)).toBe(401);
  });
});

describe("a revoked token", () => {
  it("loses the streams that it holds open at other replicas", async () => {
    const { watchFleet } = DeviceService.method;
    const lost = await mintToken(home, Role.VIEWER);
    const grpc = elsewhere.client(lost.secret).serverStream(watchFleet, {})[Symbol.asyncIterator]();
    const connect = connectClient(elsewhere, DeviceService, lost.secret)
      .watchFleet({})
      [Symbol.asyncIterator]();
    await Promise.all([grpc.next(), connect.next()]);
    await home.client().unary(AccessService.method.revokeToken, { id: lost.id, reason: "lost" });
    for (const stream of [grpc, connect]) {
      const rest = async () => {
        while ((await stream.next()).done !== true);
      };
      expect(await refusal(rest())).toMatchObject({ code: "UNAUTHENTICATED", reason: "CREDENTIAL_REVOKED" });
    }
  });
});
