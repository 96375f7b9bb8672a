import { randomUUID } from "node:crypto";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Role } from "../../gen/ota/v1/access_pb.js";
import { AccessService } from "../../gen/ota/v1/access_service_pb.js";
import { RpcClient } from "../../src/client/rpc-client.ts";
import { connectClient, enrolDevice, http, mintToken, refusal } from "../support/door-clients.ts";
import { eventually } from "../support/eventually.ts";
import { startTestService, type TestService } from "../support/service.ts";

/** Somebody tries what is not allowed, and wants nobody to know. */

const { createToken, revokeToken, listAuditEvents } = AccessService.method;
const method = "ota.v1.AccessService/CreateToken";

let service: TestService;
let admin: RpcClient;

beforeAll(async () => {
  service = await startTestService();
  admin = service.client();
});

afterAll(() => service[Symbol.asyncDispose]());

async function refusedCalls(actor: string) {
  return (await admin.unary(listAuditEvents, { action: "call.refuse", actor })).events;
}

const evil = { name: "mine", role: Role.ADMIN };

describe("a call that is not allowed", () => {
  it.each(["grpc", "connect", "rest"])("by %s is on record, with who tried and from where", async (door) => {
    const { name, secret } = await mintToken(service, Role.VIEWER);
    const tries: Record<string, () => Promise<unknown>> = {
      grpc: () => refusal(service.client(secret).unary(createToken, evil)),
      connect: () => refusal(connectClient(service, AccessService, secret).createToken(evil)),
      rest: () => http(service, "POST", "/api/v1/access/tokens", { token: secret, body: { name: "mine" } }),
    };
    await tries[door]?.();
    await eventually(async () =>
      expect(await refusedCalls(`operator:${name}`)).toMatchObject([
        {
          resourceType: "method",
          resourceId: method,
          reason: expect.stringContaining("needs the role admin"),
          details: { reason: "ROLE_REQUIRED" },
          address: expect.stringMatching(/127\.0\.0\.1$/),
          requestId: expect.stringMatching(/./),
        },
      ]),
    );
  });

  it("of a device is on record, and so is one of a stranger to what only administrators may", async () => {
    const device = await enrolDevice(service);
    await refusal(service.client(device.token).unary(createToken, evil));
    using stranger = new RpcClient({ address: service.grpcAddress });
    await refusal(stranger.unary(createToken, evil));
    await eventually(async () => {
      expect(await refusedCalls(`device:${device.id}`)).toMatchObject([{ resourceId: method }]);
      expect(await refusedCalls("anonymous")).toMatchObject([
        { resourceId: method, details: { reason: "CREDENTIAL_MISSING" } },
      ]);
    });
  });

  it("fills no table, and does not drown what others do, however often it is tried", async () => {
    const flood = await mintToken(service, Role.VIEWER);
    const quiet = await mintToken(service, Role.VIEWER);
    const client = service.client(flood.secret);
    await Promise.all(Array.from({ length: 300 }, () => refusal(client.unary(createToken, evil))));
    await refusal(service.client(quiet.secret).unary(createToken, evil));
    await eventually(async () => {
      const [event] = await refusedCalls(`operator:${quiet.name}`);
      expect(Number(event?.details["not_recorded"])).toBeGreaterThan(250);
    });
    expect((await refusedCalls(`operator:${flood.name}`)).length).toBeLessThan(50);
  });
});

describe("an event", () => {
  it("names the address and the request of the call that did it", async () => {
    const requestId = `try-${randomUUID()}`;
    const created = await http(service, "POST", "/api/v1/access/tokens", {
      token: service.adminToken,
      body: { name: "with a trace", role: "ROLE_VIEWER" },
      headers: { "x-request-id": requestId },
    });
    const { id } = created.body.token;
    await admin.unary(revokeToken, { id });
    const { events } = await admin.unary(listAuditEvents, { resourceId: id });
    expect(events).toMatchObject([
      { action: "token.revoke", address: "127.0.0.1", requestId: expect.stringMatching(/^[\w-]{36}$/) },
      { action: "token.create", address: "127.0.0.1", requestId },
    ]);
    const device = await enrolDevice(service);
    const enrolled = await admin.unary(listAuditEvents, { actor: `device:${device.id}` });
    for (const event of enrolled.events) expect(event.address).toBe("127.0.0.1");
  });

  it("names none where the service did it by itself", async () => {
    const { events } = await admin.unary(listAuditEvents, { actor: "system:bootstrap" });
    expect(events.length).toBeGreaterThan(0);
    for (const event of events) expect(event).toMatchObject({ address: "", requestId: "" });
  });

  it.each([
    "UPDATE audit_events SET actor = 'operator:somebody-else'",
    "DELETE FROM audit_events",
    "TRUNCATE audit_events",
    "INSERT INTO audit_events SELECT * FROM audit_events ON CONFLICT (id) DO UPDATE SET actor = 'nobody'",
  ])("cannot be changed or removed: %s", async (statement) => {
    const database = new pg.Client({ connectionString: service.databaseUrl });
    await database.connect();
    try {
      await expect(database.query(statement)).rejects.toThrow(/audit_events is only added to/);
    } finally {
      await database.end();
    }
  });
});
