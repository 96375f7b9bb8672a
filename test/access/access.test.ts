import { generateKeyPairSync, randomUUID } from "node:crypto";
import { pino } from "pino";
import { describe, expect, it } from "vitest";
import { signingKeyMessage } from "../../src/access/access-messages.ts";
import { warnOfExpiringKeys } from "../../src/access/expiring-signing-keys.ts";
import { requestDigest } from "../../src/infra/database/request-digest.ts";
import { startAccess } from "./access-fixture.ts";

const actor = "operator:root";

describe("OperatorTokens", () => {
  it("stores only a hash of the secret and records who made the token", async () => {
    await using access = await startAccess();
    const { token, secret } = await access.tokens.create({
      actor,
      requestId: undefined,
      name: "ci",
      role: "operator",
      expiresAt: undefined,
    });
    expect(secret).toMatch(/^ota_op_[\w-]{43}$/);
    const { rows } = await access.database.adminPool.query("SELECT * FROM operator_tokens");
    expect(rows).toHaveLength(1);
    expect(JSON.stringify(rows)).not.toContain(secret);
    const [event] = await access.audit.list({ resourceId: token.id }, { limit: 10 });
    expect(event).toMatchObject({ actor, action: "token.create", details: { name: "ci", role: "operator" } });
  });

  it("answers a repeat with the same token and a fresh secret, and the lost one stops working", async () => {
    await using access = await startAccess();
    const request = {
      actor,
      requestId: randomUUID(),
      name: "ci",
      role: "viewer",
      expiresAt: undefined,
    } as const;
    const first = await access.tokens.create(request);
    await access.authenticator.identify(first.secret);
    const second = await access.tokens.create(request);

    expect(second.token.id).toBe(first.token.id);
    expect(second.secret).not.toBe(first.secret);
    expect(await access.authenticator.identify(second.secret)).toMatchObject({ tokenId: first.token.id });
    await expect((async () => access.authenticator.identify(first.secret))()).rejects.toMatchObject({
      reason: "CREDENTIAL_INVALID",
    });
    await expect(access.tokens.create({ ...request, role: "admin" })).rejects.toMatchObject({
      reason: "REQUEST_ID_REUSED",
    });
  });

  it("takes a repeat of what the release before made for one, which knew no owners", async () => {
    await using access = await startAccess();
    const asked = { name: "ci", role: "viewer", expiresAt: undefined } as const;
    const request = { ...asked, actor, requestId: randomUUID() };
    const { token } = await access.tokens.create(request);
    await access.database.adminPool.query(
      "UPDATE request_ids SET request_digest = $1 WHERE request_id = $2",
      [requestDigest(asked), request.requestId],
    );
    expect((await access.tokens.create(request)).token.id).toBe(token.id);
    await expect(access.tokens.create({ ...request, owner: "ann" })).rejects.toMatchObject({
      reason: "REQUEST_ID_REUSED",
    });
  });

  it("refuses an expiry in the past and an unknown id", async () => {
    await using access = await startAccess();
    const expiresAt = access.clock.now();
    const request = { actor, requestId: undefined, name: "x", role: "viewer", expiresAt } as const;
    await expect(access.tokens.create(request)).rejects.toMatchObject({
      code: "invalid_argument",
      fields: [{ field: "expire_time" }],
    });
    await expect(access.tokens.revoke({ actor, id: randomUUID(), reason: "" })).rejects.toMatchObject({
      code: "not_found",
    });
  });

  it("lists newest first, page by page", async () => {
    await using access = await startAccess();
    for (const name of ["a", "b", "c"]) {
      await access.tokens.create({ actor, requestId: undefined, name, role: "viewer", expiresAt: undefined });
    }
    const first = await access.tokens.list({ limit: 2 });
    expect(first.map((token) => token.name)).toEqual(["c", "b"]);
    const second = await access.tokens.list({ limit: 2, after: first.at(-1)?.id });
    expect(second.map((token) => token.name)).toEqual(["a"]);
  });

  it("records a revocation once", async () => {
    await using access = await startAccess();
    const { token } = await access.tokens.create({
      actor,
      requestId: undefined,
      name: "ci",
      role: "viewer",
      expiresAt: undefined,
    });
    const revoked = await access.tokens.revoke({ actor, id: token.id, reason: "leaked" });
    access.clock.advance(60_000);
    const again = await access.tokens.revoke({ actor, id: token.id, reason: "leaked" });
    expect(again.revokedAt).toEqual(revoked.revokedAt);
    const events = await access.audit.list({ action: "token.revoke" }, { limit: 10 });
    expect(events.map((event) => event.reason)).toEqual(["leaked"]);
  });
});

describe("EnrolmentKeys", () => {
  it("answers a repeat with the same key and a fresh secret", async () => {
    await using access = await startAccess();
    const request = {
      actor,
      requestId: randomUUID(),
      name: "line 3",
      maxUses: 5,
      deviceTypes: ["thermostat"],
      serialNumberPatterns: [],
      serialNumbers: [],
      requireApproval: false,
      expiresAt: undefined,
    };
    const first = await access.enrolmentKeys.create(request);
    const second = await access.enrolmentKeys.create(request);
    expect(second.key.id).toBe(first.key.id);
    const em = access.database.em();
    expect(
      await access.enrolmentKeys.check(em, second.secret, { deviceType: "thermostat", serialNumber: "sn-1" }),
    ).toMatchObject({
      id: first.key.id,
    });
    await expect(
      access.enrolmentKeys.check(em, first.secret, { deviceType: "thermostat", serialNumber: "sn-1" }),
    ).rejects.toMatchObject({
      code: "permission_denied",
      reason: "ENROLMENT_KEY_INVALID",
    });
  });

  it("lets in only the device types that it names, until it expires or is revoked", async () => {
    await using access = await startAccess();
    const create = async (name: string, expiresAt?: Date) =>
      await access.enrolmentKeys.create({
        actor,
        requestId: undefined,
        name,
        maxUses: 0,
        deviceTypes: ["thermostat"],
        serialNumberPatterns: [],
        serialNumbers: [],
        requireApproval: false,
        expiresAt,
      });
    const brief = await create("brief", new Date(access.clock.now().getTime() + 1_000));
    const lost = await create("lost");
    const check = (secret: string, type = "thermostat") =>
      access.enrolmentKeys.check(access.database.em(), secret, { deviceType: type, serialNumber: "sn-1" });

    await expect(check(lost.secret, "toaster")).rejects.toThrow(/not for devices of type toaster/);
    expect(await check(brief.secret)).toMatchObject({ id: brief.key.id });
    access.clock.advance(1_000);
    await expect(check(brief.secret)).rejects.toThrow(/expired/);
    await access.enrolmentKeys.revoke({ actor, id: lost.key.id, reason: "found on a forum" });
    await expect(check(lost.secret)).rejects.toThrow(/revoked/);
    await expect(
      access.database.em().transactional((em) => access.enrolmentKeys.use(em, lost.key.id)),
    ).rejects.toThrow(/revoked/);
  });
});

describe("SigningKeys", () => {
  const publicKey = (): string =>
    generateKeyPairSync("ed25519").publicKey.export({ type: "spki", format: "pem" }).toString();

  it("takes Ed25519, P-256 and RSA of 3,072 bits, and says which", async () => {
    await using access = await startAccess();
    const pems = [
      publicKey(),
      generateKeyPairSync("ec", { namedCurve: "P-256" }).publicKey.export({ type: "spki", format: "pem" }),
      generateKeyPairSync("rsa", { modulusLength: 3072 }).publicKey.export({ type: "spki", format: "pem" }),
    ];
    const algorithms: string[] = [];
    for (const pem of pems) {
      const key = await access.signingKeys.register({ actor, name: "release", publicKeyPem: pem.toString() });
      const { algorithm, signatureAlgorithm } = signingKeyMessage(key);
      algorithms.push(`${algorithm}, signs ${signatureAlgorithm}`);
    }
    expect(algorithms).toEqual([
      "ed25519, signs ed25519",
      "ecdsa-p256, signs ecdsa-p256-sha256",
      "rsa-pss, signs rsa-pss-sha256",
    ]);
  });

  it("refuses weak RSA keys and what is no public key", async () => {
    await using access = await startAccess();
    const weak = generateKeyPairSync("rsa", { modulusLength: 2048 }).publicKey;
    const privateKey = generateKeyPairSync("ed25519").privateKey;
    for (const publicKeyPem of [
      weak.export({ type: "spki", format: "pem" }).toString(),
      privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
      "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
    ]) {
      await expect(access.signingKeys.register({ actor, name: "x", publicKeyPem })).rejects.toMatchObject({
        code: "invalid_argument",
      });
    }
  });

  it("answers a known key with the one it has, and pages newest first", async () => {
    await using access = await startAccess();
    const pems = [publicKey(), publicKey(), publicKey()];
    for (const [index, publicKeyPem] of pems.entries()) {
      // Two of them in the same millisecond.
      if (index === 2) access.clock.advance(1);
      await access.signingKeys.register({ actor, name: `key ${index}`, publicKeyPem });
    }
    const again = await access.signingKeys.register({ actor, name: "other", publicKeyPem: pems[0] ?? "" });
    expect(again.name).toBe("key 0");
    expect(await access.audit.list({ action: "signing_key.register" }, { limit: 10 })).toHaveLength(3);

    const { signingKeyPosition } = await import("../../src/access/signing-keys.ts");
    const names: string[] = [];
    let after: string | undefined;
    for (;;) {
      const [key] = await access.signingKeys.list({ limit: 1, after });
      if (key === undefined) break;
      names.push(key.name);
      after = signingKeyPosition(key);
    }
    expect(names[0]).toBe("key 2");
    expect(names.toSorted()).toEqual(["key 0", "key 1", "key 2"]);
  });

  it("pauses the rollouts that rest on a revoked key, which cannot come back", async () => {
    const told: string[] = [];
    await using access = await startAccess({
      signingKeyRevoked: async (keyId) => told.push(keyId),
    });
    const publicKeyPem = publicKey();
    const { id } = await access.signingKeys.register({ actor, name: "release", publicKeyPem });
    const { key, pausedRollouts } = await access.signingKeys.revoke({ actor, id, reason: "laptop stolen" });
    expect(key.revokedAt).toEqual(access.clock.now());
    expect(pausedRollouts).toBe(1);
    expect(told).toEqual([id]);
    await expect(access.signingKeys.register({ actor, name: "x", publicKeyPem })).rejects.toMatchObject({
      reason: "SIGNING_KEY_REVOKED",
    });
  });
});

describe("SigningKeys with a role and an end", () => {
  const publicKeyPem = generateKeyPairSync("ed25519")
    .publicKey.export({ type: "spki", format: "pem" })
    .toString();

  it("are registered, changed and told, but not as two things at once", async () => {
    await using access = await startAccess();
    const expiresAt = new Date(access.clock.now().getTime() + 3_600_000);
    const said = { actor, name: "security", publicKeyPem };
    const { id } = await access.signingKeys.register({ ...said, role: "security", expiresAt });
    for (const other of [{}, { role: "release" as const }, { role: "test" as const }]) {
      await expect(access.signingKeys.register({ ...said, ...other })).rejects.toMatchObject({
        code: "already_exists",
        reason: "DUPLICATE",
        metadata: { role: "security" },
      });
    }
    await access.signingKeys.register({ ...said, role: "security" });
    const later = new Date(expiresAt.getTime() + 1);
    const change = { actor, id, reason: "the year is over", expiresAt: later };
    expect(await access.signingKeys.update(change)).toMatchObject({ role: "security", expiresAt: later });
    await access.signingKeys.update(change);
    expect(await access.audit.list({ action: "signing_key.update" }, { limit: 10 })).toMatchObject([
      { reason: "the year is over", details: { to_expire_time: later.toISOString() } },
    ]);
    await access.signingKeys.revoke({ actor, id, reason: "" });
    await expect(access.signingKeys.update(change)).rejects.toMatchObject({ reason: "SIGNING_KEY_REVOKED" });
  });

  it("are in the log before they expire", async () => {
    await using access = await startAccess();
    const lines: object[] = [];
    const logger = pino({ level: "warn" }, { write: (line: string) => void lines.push(JSON.parse(line)) });
    const inDays = (days: number) => new Date(access.clock.now().getTime() + days * 86_400_000);
    const { id } = await access.signingKeys.register({
      actor,
      name: "spring",
      publicKeyPem,
      expiresAt: inDays(31),
    });
    await access.database.adminPool.query(
      `INSERT INTO firmware_updates (id, product, version, state, sha256, size_bytes)
       VALUES ('00000000-0000-7000-8000-000000000001', 'p', '1.0.0', 'RELEASED', '', 1)`,
    );
    await access.database.adminPool.query(
      `INSERT INTO firmware_signatures (id, firmware_id, key_id, algorithm, signature)
       VALUES (gen_random_uuid(), '00000000-0000-7000-8000-000000000001', $1, 'ed25519', '')`,
      [id],
    );
    const watch = { database: access.database, clock: access.clock, logger };
    await warnOfExpiringKeys(watch);
    expect(lines).toEqual([]);
    access.clock.advance(86_400_000);
    await warnOfExpiringKeys(watch);
    expect(lines).toMatchObject([{ name: "spring", keyId: id, firmware: 1 }]);
  });
});

describe("AuditLog", () => {
  it("is undone with the change that it records", async () => {
    await using access = await startAccess();
    await expect(
      access.database.em().transactional(async (em) => {
        await access.audit.record(em, { actor, action: "a.b", resourceType: "a", resourceId: "1" });
        throw new Error("changed its mind");
      }),
    ).rejects.toThrow("changed its mind");
    expect(await access.audit.list({}, { limit: 10 })).toEqual([]);
  });

  it("lists by resource and action, newest first", async () => {
    await using access = await startAccess();
    await access.database.em().transactional(async (em) => {
      for (const [resourceId, action] of [
        ["1", "x.made"],
        ["2", "x.made"],
        ["1", "x.gone"],
      ] as const) {
        await access.audit.record(em, { actor, action, resourceType: "x", resourceId, details: { n: "1" } });
      }
    });
    const of = async (filter: { resourceId?: string; action?: string }, after?: string) =>
      (await access.audit.list(filter, { limit: 10, after })).map((e) => `${e.resourceId} ${e.action}`);
    expect(await of({})).toEqual(["1 x.gone", "2 x.made", "1 x.made"]);
    expect(await of({ resourceId: "1" })).toEqual(["1 x.gone", "1 x.made"]);
    expect(await of({ action: "x.made" })).toEqual(["2 x.made", "1 x.made"]);
    const [newest] = await access.audit.list({}, { limit: 1 });
    expect(await of({}, newest?.id)).toEqual(["2 x.made", "1 x.made"]);
  });
});
