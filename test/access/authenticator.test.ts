import { describe, expect, it } from "vitest";
import { freshForMs, trustedForMs, unknownForMs } from "../../src/access/authenticator.ts";
import { newSecret } from "../../src/access/secret.ts";
import { migrateUp } from "../../src/infra/database/migrate.ts";
import { eventually } from "../support/eventually.ts";
import { DedicatedPostgres } from "../support/postgres.ts";
import { type AccessReplica, joinAccess, startAccess } from "./access-fixture.ts";

const admin = { actor: "operator:root", requestId: undefined, role: "admin", expiresAt: undefined } as const;

async function identified(replica: AccessReplica, token: string) {
  return await replica.authenticator.identify(token);
}

describe("Authenticator", () => {
  it("knows operators and devices by their tokens, the second time without a promise", async () => {
    await using replica = await startAccess();
    const { token, secret } = await replica.tokens.create({ ...admin, name: "ada" });
    const deviceId = await insertDevice(replica);
    const { token: deviceToken } = await replica.database
      .em()
      .transactional((em) => replica.credentials.issue(em, deviceId));

    const operator = { kind: "operator", tokenId: token.id, name: "ada", role: "admin" };
    expect(await identified(replica, secret)).toEqual(operator);
    expect(replica.authenticator.identify(secret)).toEqual(operator);
    expect(await identified(replica, deviceToken)).toMatchObject({ kind: "device", deviceId });
    expect(replica.authenticator.size).toBe(2);
  });

  it("refuses what it does not know, and does not ask the database again and again", async () => {
    await using replica = await startAccess();
    const { text } = newSecret("operator");
    await expect(identified(replica, text)).rejects.toMatchObject({
      code: "unauthenticated",
      reason: "CREDENTIAL_INVALID",
    });
    expect(() => replica.authenticator.identify(text)).toThrow(/not one of this service/);
    replica.clock.advance(unknownForMs);
    await expect(identified(replica, text)).rejects.toMatchObject({ reason: "CREDENTIAL_INVALID" });
  });

  it("checks the expiry at every use", async () => {
    await using replica = await startAccess();
    const expiresAt = new Date(replica.clock.now().getTime() + 10_000);
    const { secret } = await replica.tokens.create({ ...admin, name: "brief", expiresAt });
    await identified(replica, secret);
    replica.clock.advance(9_999);
    expect(replica.authenticator.identify(secret)).toMatchObject({ name: "brief" });
    replica.clock.advance(1);
    expect(() => replica.authenticator.identify(secret)).toThrow(/expired/);
  });

  it("sees a revocation at once here and soon on another replica", async () => {
    await using here = await startAccess();
    await using there = await joinAccess(here.url);
    const { token, secret } = await here.tokens.create({ ...admin, name: "ada" });
    await here.tokens.create({ ...admin, name: "bob" });
    await identified(here, secret);
    await identified(there, secret);

    await here.tokens.revoke({ actor: "operator:root", id: token.id, reason: "left the company" });

    await expect(identified(here, secret)).rejects.toMatchObject({ reason: "CREDENTIAL_REVOKED" });
    await eventually(() =>
      expect(identified(there, secret)).rejects.toMatchObject({ reason: "CREDENTIAL_REVOKED" }),
    );
  });

  it("reads a credential again when its copy is no longer fresh, as if no notice had come", async () => {
    await using replica = await startAccess();
    const { token, secret } = await replica.tokens.create({ ...admin, name: "ada" });
    await identified(replica, secret);
    await replica.database.adminPool.query("UPDATE operator_tokens SET revoked_at = now() WHERE id = $1", [
      token.id,
    ]);
    replica.clock.advance(freshForMs - 1);
    expect(replica.authenticator.identify(secret)).toMatchObject({ name: "ada" });
    replica.clock.advance(1);
    await expect(identified(replica, secret)).rejects.toMatchObject({ reason: "CREDENTIAL_REVOKED" });
  });

  it("trusts what it knew while the database is away, for a while", async () => {
    await using server = await DedicatedPostgres.start();
    await migrateUp(server.url);
    await using replica = await joinAccess(server.url);
    const { secret } = await replica.tokens.create({ ...admin, name: "ada" });
    await identified(replica, secret);
    await server.stop();

    replica.clock.advance(freshForMs);
    expect(await identified(replica, secret)).toMatchObject({ name: "ada" });
    await expect(identified(replica, newSecret("operator").text)).rejects.toMatchObject({
      code: "unavailable",
      reason: "DATABASE_UNAVAILABLE",
    });
    replica.clock.advance(trustedForMs);
    await expect(identified(replica, secret)).rejects.toMatchObject({ reason: "DATABASE_UNAVAILABLE" });

    await server.startAgain();
    await eventually(async () => expect(await identified(replica, secret)).toMatchObject({ name: "ada" }));
  });

  it("keeps no more credentials in memory than it may", async () => {
    await using replica = await startAccess();
    const { Authenticator } = await import("../../src/access/authenticator.ts");
    const small = new Authenticator({ database: replica.database, clock: replica.clock, maxCredentials: 2 });
    for (const name of ["a", "b", "c"]) {
      const { secret } = await replica.tokens.create({ ...admin, name });
      await small.identify(secret);
    }
    expect(small.size).toBe(2);
    small.close();
  });
});

async function insertDevice({ database }: AccessReplica): Promise<string> {
  const { rows } = await database.adminPool.query<{ id: string }>(
    "INSERT INTO devices (id, serial_number, device_type, hardware_model) VALUES (uuidv7(), 's1', 't', 'm') RETURNING id",
  );
  return rows[0]?.id ?? "";
}
