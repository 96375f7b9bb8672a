import { constants, generateKeyPairSync, type KeyObject, randomUUID, sign, verify } from "node:crypto";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { FirmwareFilter } from "../../src/firmware/firmware.ts";
import { parseManifest } from "../../src/manifest/manifest.ts";
import { generateSigningKey, type SigningKeyPair, thumbprint } from "../../src/manifest/signature.ts";
import {
  actor,
  type CatalogFixture,
  caller,
  content,
  createCatalogFixture,
  fields,
  manifestOf,
  openDatabase,
  signatureOf,
} from "./catalog-fixture.ts";

let opened: Awaited<ReturnType<typeof openDatabase>>;
let fixture: CatalogFixture;

beforeAll(async () => {
  opened = await openDatabase();
});

afterAll(() => opened[Symbol.asyncDispose]());

beforeEach(async () => {
  fixture = await createCatalogFixture(opened.database);
});

afterEach(() => fixture[Symbol.asyncDispose]());

const create = (changes: Partial<typeof fields> = {}, requestId?: string) =>
  fixture.catalog.create({ ...fields, ...changes }, { ...caller, requestId });

describe("creating firmware", () => {
  it("stores what was said, as a draft", async () => {
    const created = await create();
    expect(created).toMatchObject({ ...fields, state: "DRAFT", manifest: undefined, signatures: [] });
    expect(await fixture.catalog.get(created.id)).toEqual(created);
    expect(await fixture.catalog.find("thermostat-os", "1.4.0")).toEqual(created);
    expect(await fixture.actions(created.id)).toEqual(["firmware.create"]);
  });

  it("is uploaded at once if its content is in the store", async () => {
    await fixture.storeContent();
    expect(await create()).toMatchObject({ state: "UPLOADED" });
  });

  it.each(["1.4", "v1.4.0", "1.4.0+build.1", "01.4.0", "latest"])(
    "refuses the version %s",
    async (version) => {
      await expect(create({ version })).rejects.toMatchObject({
        code: "invalid_argument",
        reason: "INVALID_VERSION",
        fields: [{ field: "version" }],
      });
    },
  );

  it("refuses a bad minimum version and no device types", async () => {
    await expect(create({ minCurrentVersion: "1" })).rejects.toMatchObject({ reason: "INVALID_VERSION" });
    await expect(create({ deviceTypes: [] })).rejects.toMatchObject({ fields: [{ field: "device_types" }] });
  });

  it("knows applications by their component, and firmware by none", async () => {
    const { catalog } = fixture;
    const made = await catalog.create(
      { ...fields, product: "nav", kind: "APPLICATION", component: "nav", mandatoryStep: true },
      caller,
    );
    expect(made).toMatchObject({ kind: "APPLICATION", component: "nav", mandatoryStep: true });
    expect(new TextDecoder().decode(await catalog.manifest(made.id))).toContain('"component": "nav"');
    const changed = await catalog.update(made.id, { mandatoryStep: false }, caller);
    expect(changed.mandatoryStep).toBe(false);
    for (const wrong of [{ kind: "APPLICATION", component: "" } as const, { component: "nav" }]) {
      await expect(catalog.create({ ...fields, product: "x", ...wrong }, caller)).rejects.toMatchObject({
        fields: [{ field: "component" }],
      });
    }
  });

  it("refuses the same product and version, also at the same time, until the first is deleted", async () => {
    const outcomes = await Promise.allSettled([create(), create(), create()]);
    const made = outcomes.filter((outcome) => outcome.status === "fulfilled");
    expect(made).toHaveLength(1);
    await expect(create()).rejects.toMatchObject({
      code: "already_exists",
      reason: "DUPLICATE",
      metadata: { product: "thermostat-os", version: "1.4.0" },
    });
    await create({ product: "other" });
    await create({ version: "1.4.1" });
    await fixture.catalog.softDelete(made[0]?.value.id ?? "", { actor });
    expect(await create()).toMatchObject({ state: "DRAFT" });
  });

  it("answers a repeated request with the same firmware, and refuses another under its id", async () => {
    const requestId = randomUUID();
    const [first, second] = await Promise.all([create({}, requestId), create({}, requestId)]);
    expect(second).toEqual(first);
    expect(await create({ metadata: { team: "heat" } }, requestId)).toEqual(first);
    await expect(create({ version: "9.0.0" }, requestId)).rejects.toMatchObject({
      reason: "REQUEST_ID_REUSED",
    });
  });
});

describe("reading firmware", () => {
  it("knows nothing of an unknown id", async () => {
    await expect(fixture.catalog.get(randomUUID())).rejects.toMatchObject({ code: "not_found" });
    expect(await fixture.catalog.find("thermostat-os", "1.4.0")).toBeUndefined();
  });

  it("lists by filters, newest first, page by page", async () => {
    const all = [
      await create({ version: "1.0.0", deviceTypes: ["a", "b"], hardwareModels: [] }),
      await create({ version: "1.1.0", deviceTypes: ["b"], hardwareModels: ["m1"] }),
      await create({ version: "1.2.0", deviceTypes: ["c"], hardwareModels: ["m2"] }),
      await create({ version: "1.0.0", product: "lamp", deviceTypes: ["c"], hardwareModels: [] }),
    ];
    await fixture.catalog.softDelete(all[2]?.id ?? "", { actor });
    await fixture.upload(all[0]?.id ?? "");
    const list = async (filter: Partial<FirmwareFilter>, page: { limit?: number; after?: string } = {}) => {
      const found = await fixture.catalog.list(
        { states: [], showDeleted: false, ...filter },
        { limit: 10, ...page },
      );
      return found.map(({ id }) => all.findIndex((firmware) => firmware.id === id));
    };
    expect(await list({})).toEqual([3, 1, 0]);
    expect(await list({ showDeleted: true })).toEqual([3, 2, 1, 0]);
    expect(await list({ product: "lamp" })).toEqual([3]);
    expect(await list({ version: "1.0.0" })).toEqual([3, 0]);
    expect(await list({ deviceType: "b" })).toEqual([1, 0]);
    expect(await list({ hardwareModel: "m1" })).toEqual([3, 1, 0]);
    expect(await list({ hardwareModel: "m2", deviceType: "b" })).toEqual([0]);
    expect(await list({ states: ["UPLOADED", "RELEASED"] })).toEqual([0]);
    expect(await list({ deviceType: "'; drop table firmware_updates --" })).toEqual([]);
    expect(await list({}, { limit: 2 })).toEqual([3, 1]);
    expect(await list({}, { limit: 2, after: all[1]?.id ?? "" })).toEqual([0]);
  });
});

describe("changing firmware", () => {
  it("changes what is given and nothing else", async () => {
    const { id, updatedAt } = await create();
    const changed = await fixture.catalog.update(
      id,
      { releaseNotes: "", minBatteryPercent: 0, metadata: {}, hardwareModels: [], minCurrentVersion: "" },
      { actor },
    );
    expect(changed).toMatchObject({
      ...fields,
      releaseNotes: "",
      minBatteryPercent: 0,
      metadata: {},
      hardwareModels: [],
      minCurrentVersion: "",
    });
    expect(changed.updatedAt.getTime()).toBeGreaterThanOrEqual(updatedAt.getTime());
    expect(await fixture.catalog.get(id)).toEqual(changed);
    const [event] = await fixture.audit.list({ action: "firmware.update", resourceId: id }, { limit: 1 });
    expect(event?.details).toMatchObject({
      from_min_battery_percent: String(fields.minBatteryPercent),
      to_min_battery_percent: "0",
      from_release_notes: fields.releaseNotes,
      to_release_notes: "",
    });
  });

  it("keeps what the signature covers once it is released", async () => {
    const { id } = await create();
    await fixture.upload(id);
    await fixture.catalog.sign(id, signatureOf(await fixture.registerKey()), { actor });
    for (const [field, change] of Object.entries({
      device_types: { deviceTypes: ["other"] },
      hardware_models: { hardwareModels: [] },
      min_current_version: { minCurrentVersion: "1.0.1" },
    })) {
      await expect(fixture.catalog.update(id, change, { actor })).rejects.toMatchObject({
        code: "failed_precondition",
        reason: "FIRMWARE_IMMUTABLE",
        metadata: { field },
      });
    }
    const same = {
      deviceTypes: [...fields.deviceTypes],
      hardwareModels: ["t200", "t100"],
      releaseNotes: "New.",
    };
    expect(await fixture.catalog.update(id, same, { actor })).toMatchObject({
      state: "RELEASED",
      releaseNotes: "New.",
    });
  });

  it("forgets signatures over what changes before the release", async () => {
    const { id } = await create();
    const key = await fixture.registerKey();
    await fixture.catalog.sign(id, signatureOf(key), { actor });
    expect(await fixture.catalog.update(id, { deviceTypes: ["other"] }, { actor })).toMatchObject({
      manifest: undefined,
      signatures: [],
    });
    await fixture.catalog.sign(id, signatureOf(key, manifestOf({ deviceTypes: ["other"] })), { actor });
  });

  it("takes it out of the catalogue unless a rollout has it", async () => {
    const { id } = await create();
    fixture.inUse.set(id, "the-rollout");
    await expect(fixture.catalog.softDelete(id, { actor })).rejects.toMatchObject({
      code: "failed_precondition",
      reason: "FIRMWARE_IN_USE",
      metadata: { rollout_id: "the-rollout" },
    });
    fixture.inUse.clear();
    const { unchanged, ...deleted } = await fixture.catalog.softDelete(id, { actor });
    expect(unchanged).toBe(false);
    expect(deleted.deletedAt).toBeInstanceOf(Date);
    expect(await fixture.catalog.softDelete(id, { actor })).toEqual({ ...deleted, unchanged: true });
    expect(await fixture.catalog.get(id)).toEqual(deleted);
    expect(await fixture.actions(id)).toEqual(["firmware.create", "firmware.delete"]);
    for (const late of [
      () => fixture.catalog.update(id, { releaseNotes: "x" }, { actor }),
      () => fixture.catalog.requireDeployable(id, { actor }),
      () => fixture.catalog.manifest(id),
      () => fixture.upload(id),
    ]) {
      await expect(late()).rejects.toMatchObject({ code: "not_found" });
    }
  });
});

describe("signing firmware", () => {
  it("releases it once content and signature are there, in either order", async () => {
    const key = await fixture.registerKey();
    const first = await create();
    expect(await fixture.upload(first.id)).toMatchObject({ state: "UPLOADED" });
    const released = await fixture.catalog.sign(first.id, signatureOf(key), { actor });
    expect(released).toMatchObject({
      state: "RELEASED",
      releasedAt: fixture.clock.now(),
      signatures: [{ keyId: key.keyId, algorithm: "ed25519" }],
    });
    expect(Buffer.from(released.manifest ?? [])).toEqual(Buffer.from(manifestOf()));
    expect(Buffer.from(released.signatures[0]?.signature ?? [])).toEqual(
      Buffer.from(signatureOf(key).signature),
    );
    expect(await fixture.actions(first.id)).toEqual([
      "firmware.create",
      "firmware.upload",
      "firmware.sign",
      "firmware.release",
    ]);

    const second = await create({ version: "1.5.0", sha256: "00".repeat(32) });
    const manifest = manifestOf({ version: "1.5.0", sha256: "00".repeat(32) });
    expect(await fixture.catalog.sign(second.id, signatureOf(key, manifest), { actor })).toMatchObject({
      state: "DRAFT",
    });
    expect(await fixture.catalog.contentStored(second.id, actor)).toMatchObject({ state: "RELEASED" });
  });

  it("hands a raw ECDSA signature on in DER, as all devices expect it", async () => {
    const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const { keyId } = await fixture.registerKey({}, pairOf(publicKey, privateKey));
    const { id } = await create();
    const manifest = manifestOf();
    const raw = sign("sha256", manifest, { key: privateKey, dsaEncoding: "ieee-p1363" });
    const { signatures } = await fixture.catalog.sign(id, { manifest, keyId, signature: raw }, { actor });
    const handed = signatures[0]?.signature ?? new Uint8Array();
    expect(verify("sha256", manifest, { key: publicKey, dsaEncoding: "der" }, handed)).toBe(true);
    expect((await fixture.catalog.get(id)).signatures[0]?.signature).toEqual(handed);
    const again = await fixture.catalog.sign(id, { manifest, keyId, signature: handed }, { actor });
    expect(again.signatures).toHaveLength(1);
  });

  it("refuses an RSA signature with a salt that not every device can check, and says which one it takes", async () => {
    const { publicKey, privateKey } = generateKeyPairSync("rsa", { modulusLength: 3072 });
    const { keyId } = await fixture.registerKey({}, pairOf(publicKey, privateKey));
    const { id } = await create();
    const manifest = manifestOf();
    const signed = (saltLength: number) => ({
      manifest,
      keyId,
      signature: sign("sha256", manifest, {
        key: privateKey,
        padding: constants.RSA_PKCS1_PSS_PADDING,
        saltLength,
      }),
    });
    for (const saltLength of [0, 20, constants.RSA_PSS_SALTLEN_MAX_SIGN]) {
      await expect(fixture.catalog.sign(id, signed(saltLength), { actor })).rejects.toMatchObject({
        reason: "SIGNATURE_INVALID",
        message: expect.stringContaining("salt of 32 bytes"),
      });
    }
    expect((await fixture.catalog.sign(id, signed(32), { actor })).signatures).toHaveLength(1);
  });

  it("accepts the manifest that it makes itself, which is always the same", async () => {
    const { id, createdAt } = await create();
    await fixture.upload(id);
    const manifest = await fixture.catalog.manifest(id);
    expect(await fixture.catalog.manifest(id)).toEqual(manifest);
    expect(parseManifest(manifest)).toMatchObject({
      version: "1.4.0",
      created: createdAt,
      expires: undefined,
    });
    await fixture.catalog.sign(id, signatureOf(await fixture.registerKey(), manifest), { actor });
    expect(Buffer.from(await fixture.catalog.manifest(id))).toEqual(Buffer.from(manifest));
  });

  it("refuses keys that are unknown or revoked", async () => {
    const { id } = await create();
    await expect(
      fixture.catalog.sign(id, signatureOf(generateSigningKey()), { actor }),
    ).rejects.toMatchObject({
      code: "failed_precondition",
      reason: "SIGNING_KEY_UNKNOWN",
    });
    const key = await fixture.registerKey();
    await fixture.revokeKey(key);
    await expect(fixture.catalog.sign(id, signatureOf(key), { actor })).rejects.toMatchObject({
      code: "failed_precondition",
      reason: "SIGNING_KEY_REVOKED",
    });
    expect(await fixture.catalog.get(id)).toMatchObject({ manifest: undefined, signatures: [] });
  });

  it("verifies before it reads", async () => {
    const { id } = await create();
    const key = await fixture.registerKey();
    const garbage = new TextEncoder().encode("garbage");
    const wrong = { ...signatureOf(key), manifest: garbage };
    await expect(fixture.catalog.sign(id, wrong, { actor })).rejects.toMatchObject({
      reason: "SIGNATURE_INVALID",
    });
    await expect(fixture.catalog.sign(id, signatureOf(key, garbage), { actor })).rejects.toMatchObject({
      reason: "INVALID_MANIFEST",
    });
  });

  it.each([
    ["product", { product: "toaster-os" }],
    ["version", { version: "1.4.1" }],
    ["sha256", { sha256: "ff".repeat(32) }],
    ["hardware_models", { hardwareModels: ["t100", "t200", "t300"] }],
    ["security_counter", { securityCounter: 1 }],
  ])("refuses a manifest with another %s", async (field, changes) => {
    const { id } = await create();
    const signature = signatureOf(await fixture.registerKey(), manifestOf(changes));
    await expect(fixture.catalog.sign(id, signature, { actor })).rejects.toMatchObject({
      code: "invalid_argument",
      reason: "INVALID_MANIFEST",
      metadata: { field },
    });
  });

  it("takes the same signature again", async () => {
    const { id } = await create();
    const key = await fixture.registerKey();
    const once = await fixture.catalog.sign(id, signatureOf(key), { actor });
    const again = await fixture.catalog.sign(id, signatureOf(key), { actor });
    expect(again.signatures).toEqual(once.signatures);
    expect([once.unchanged, again.unchanged]).toEqual([false, true]);
    expect(await fixture.actions(id)).toEqual(["firmware.create", "firmware.sign"]);
  });

  it("needs all signatures over the same bytes", async () => {
    const { id } = await create();
    const [first, second] = [await fixture.registerKey(), await fixture.registerKey()];
    await fixture.catalog.sign(id, signatureOf(first), { actor });
    const other = signatureOf(second, manifestOf({ created: new Date("2026-02-02T00:00:00Z") }));
    await expect(fixture.catalog.sign(id, other, { actor })).rejects.toMatchObject({
      reason: "INVALID_MANIFEST",
      metadata: { field: "manifest" },
    });
    await fixture.revokeKey(first);
    const signed = await fixture.catalog.sign(id, other, { actor });
    expect(signed.signatures.map(({ keyId }) => keyId)).toEqual([second.keyId]);
  });

  it("lets the only signer sign another manifest instead, until the release", async () => {
    const { id } = await create();
    const key = await fixture.registerKey();
    await fixture.catalog.sign(id, signatureOf(key), { actor });
    const corrected = signatureOf(key, manifestOf({ expires: new Date("2027-01-01T00:00:00Z") }));
    const signed = await fixture.catalog.sign(id, corrected, { actor });
    expect(signed).toMatchObject({
      expiresAt: new Date("2027-01-01T00:00:00Z"),
      signatures: [{ keyId: key.keyId }],
    });
    expect(await fixture.upload(id)).toMatchObject({ state: "RELEASED" });
    await expect(fixture.catalog.sign(id, signatureOf(key), { actor })).rejects.toMatchObject({
      reason: "INVALID_MANIFEST",
    });
  });

  it("refuses a manifest that has expired, and does not release on one", async () => {
    const { id } = await create();
    const key = await fixture.registerKey();
    const manifest = manifestOf({ expires: new Date("2026-03-02T00:00:00Z") });
    await fixture.catalog.sign(id, signatureOf(key, manifest), { actor });
    fixture.clock.advance(24 * 3_600_000);
    expect(await fixture.upload(id)).toMatchObject({
      state: "UPLOADED",
      expiresAt: new Date("2026-03-02T00:00:00Z"),
    });
    await expect(fixture.catalog.sign(id, signatureOf(key, manifest), { actor })).rejects.toMatchObject({
      reason: "FIRMWARE_EXPIRED",
    });
  });
});

describe("deploying firmware", () => {
  const deploy = (id: string) => fixture.catalog.requireDeployable(id, { actor });

  it("needs content, then signatures", async () => {
    const { id } = await create();
    await expect(deploy(id)).rejects.toMatchObject({
      code: "failed_precondition",
      reason: "FIRMWARE_NOT_READY",
    });
    await fixture.upload(id);
    await expect(deploy(id)).rejects.toMatchObject({
      code: "failed_precondition",
      reason: "FIRMWARE_NOT_SIGNED",
      metadata: { signatures: "0", threshold: "1" },
    });
    await fixture.catalog.sign(id, signatureOf(await fixture.registerKey()), { actor });
    expect(await deploy(id)).toMatchObject({ id, state: "RELEASED" });
  });

  it("is refused once a needed key is revoked, and allowed again with another", async () => {
    const { id } = await create();
    await fixture.upload(id);
    const key = await fixture.registerKey();
    await fixture.catalog.sign(id, signatureOf(key), { actor });
    await fixture.revokeKey(key);
    await expect(deploy(id)).rejects.toMatchObject({ reason: "FIRMWARE_NOT_SIGNED" });
    await fixture.catalog.sign(id, signatureOf(await fixture.registerKey()), { actor });
    expect(await deploy(id)).toMatchObject({ state: "RELEASED" });
  });

  it("is refused when the manifest has expired", async () => {
    const { id } = await create();
    await fixture.upload(id);
    const manifest = manifestOf({ expires: new Date("2026-03-02T00:00:00Z") });
    await fixture.catalog.sign(id, signatureOf(await fixture.registerKey(), manifest), { actor });
    await deploy(id);
    fixture.clock.advance(24 * 3_600_000);
    await expect(deploy(id)).rejects.toMatchObject({
      code: "failed_precondition",
      reason: "FIRMWARE_EXPIRED",
    });
  });

  it.each([
    ["targets", "hardware_models = '{t300}'", "INVALID_MANIFEST"],
    ["signature", "manifest = manifest || ' '::bytea", "FIRMWARE_NOT_SIGNED"],
  ])("is refused when somebody edited the %s in the database", async (_, edit, reason) => {
    const { id } = await create();
    await fixture.upload(id);
    await fixture.catalog.sign(id, signatureOf(await fixture.registerKey()), { actor });
    await opened.database.adminPool.query(`UPDATE firmware_updates SET ${edit} WHERE id = $1`, [id]);
    await expect(deploy(id)).rejects.toMatchObject({ reason });
  });

  it("holds the row in the caller's transaction, so that a delete waits", async () => {
    const { id } = await create();
    await fixture.upload(id);
    await fixture.catalog.sign(id, signatureOf(await fixture.registerKey()), { actor });
    let deleting: Promise<unknown> | undefined;
    await fixture.database.em().transactional(async (em) => {
      await fixture.catalog.requireDeployable(id, { actor, em });
      deleting = fixture.catalog.softDelete(id, { actor });
      fixture.inUse.set(id, "new-rollout");
    });
    await expect(deleting).rejects.toMatchObject({ reason: "FIRMWARE_IN_USE" });
  });
});

describe("with two signatures needed", () => {
  beforeEach(async () => {
    await fixture[Symbol.asyncDispose]();
    fixture = await createCatalogFixture(opened.database, { signatureThreshold: 2 });
  });

  it("one stolen key cannot release", async () => {
    const { id } = await create();
    await fixture.upload(id);
    const [first, second] = [await fixture.registerKey(), await fixture.registerKey()];
    await fixture.catalog.sign(id, signatureOf(first), { actor });
    expect(await fixture.catalog.sign(id, signatureOf(first), { actor })).toMatchObject({
      state: "UPLOADED",
    });
    await fixture.revokeKey(first);
    expect(await fixture.catalog.sign(id, signatureOf(second), { actor })).toMatchObject({
      state: "UPLOADED",
    });
    const third = signatureOf(await fixture.registerKey());
    expect(await fixture.catalog.sign(id, third, { actor })).toMatchObject({ state: "RELEASED" });
  });

  it("two signers at the same time release it once", async () => {
    const { id } = await create();
    await fixture.upload(id);
    const keys = [await fixture.registerKey(), await fixture.registerKey()];
    await Promise.all(keys.map((key) => fixture.catalog.sign(id, signatureOf(key), { actor })));
    expect(await fixture.catalog.get(id)).toMatchObject({ state: "RELEASED" });
    const actions = await fixture.actions(id);
    expect(actions.filter((action) => action === "firmware.release")).toHaveLength(1);
  });
});

describe("keys with roles", () => {
  const deploy = (id: string) => fixture.catalog.requireDeployable(id, { actor });
  const sign = (id: string, key: SigningKeyPair) => fixture.catalog.sign(id, signatureOf(key), { actor });
  const require = (release: number, security: number) =>
    fixture.requirements.set(
      { product: fields.product, release, security },
      { actor, reason: "whoever looks after security has a say" },
    );

  it("release only what has as many signatures of each as its product asks for", async () => {
    await require(1, 1);
    const { id } = await create();
    await fixture.upload(id);
    const [first, second] = [await fixture.registerKey(), await fixture.registerKey()];
    const guard = await fixture.registerKey({ role: "security" });
    expect(await sign(id, first)).toMatchObject({ state: "UPLOADED" });
    expect(await sign(id, second)).toMatchObject({ state: "UPLOADED" });
    await expect(deploy(id)).rejects.toMatchObject({
      reason: "FIRMWARE_NOT_SIGNED",
      message: expect.stringContaining("0 of security keys, 1 are needed"),
    });
    expect(await sign(id, guard)).toMatchObject({ state: "RELEASED" });
    await deploy(id);
    // And what is released needs what is asked for by now.
    await require(2, 2);
    await expect(deploy(id)).rejects.toMatchObject({ reason: "FIRMWARE_NOT_SIGNED" });
    await require(0, 0);
    await deploy(id);
  });

  it("count no more from their expiry on, whenever they signed, and sign nothing", async () => {
    const { id } = await create();
    await fixture.upload(id);
    const key = await fixture.registerKey({ expiresAt: new Date("2026-03-02T00:00:00Z") });
    expect(await sign(id, key)).toMatchObject({ state: "RELEASED" });
    fixture.clock.advance(24 * 3_600_000 - 1);
    await deploy(id);
    fixture.clock.advance(1);
    await expect(deploy(id)).rejects.toMatchObject({
      reason: "FIRMWARE_NOT_SIGNED",
      message: expect.stringContaining("1 more of a key that has expired"),
    });
    await expect(sign(id, key)).rejects.toMatchObject({ reason: "SIGNING_KEY_EXPIRED" });
    await sign(id, await fixture.registerKey());
    await deploy(id);
  });

  it("for trials count only where the service says so", async () => {
    const trial = await fixture.registerKey({ role: "test" });
    const { id } = await create();
    await fixture.upload(id);
    expect(await sign(id, trial)).toMatchObject({ state: "UPLOADED", signatures: [{ keyRole: "test" }] });
    await expect(deploy(id)).rejects.toMatchObject({
      message: expect.stringContaining("1 more of a key that is a test key"),
    });
    // What it signed binds nobody whose word counts.
    const other = signatureOf(
      await fixture.registerKey(),
      manifestOf({ created: new Date("2026-02-02T00:00:00Z") }),
    );
    expect(await fixture.catalog.sign(id, other, { actor })).toMatchObject({ state: "RELEASED" });

    await fixture[Symbol.asyncDispose]();
    fixture = await createCatalogFixture(opened.database, { acceptTestKeys: true });
    const again = await fixture.registerKey({ role: "test" });
    const tried = await create();
    await fixture.upload(tried.id);
    expect(await sign(tried.id, again)).toMatchObject({ state: "RELEASED" });
  });

  it("are asked for by a product also where the service asks for none", async () => {
    await fixture[Symbol.asyncDispose]();
    fixture = await createCatalogFixture(opened.database, { requireSignature: false });
    const { id } = await create();
    await fixture.upload(id);
    await require(0, 1);
    await expect(deploy(id)).rejects.toMatchObject({ reason: "FIRMWARE_NOT_SIGNED" });
    await require(0, 0);
    await deploy(id);
  });
});

describe("releasing firmware without a deployment", () => {
  it("needs what a deployment needs", async () => {
    const { id } = await create();
    const release = () => fixture.catalog.release(id, { actor });
    await expect(release()).rejects.toMatchObject({ reason: "FIRMWARE_NOT_READY" });
    await fixture.upload(id);
    await expect(release()).rejects.toMatchObject({ reason: "FIRMWARE_NOT_SIGNED" });
    await fixture.catalog.sign(id, signatureOf(await fixture.registerKey()), { actor });
    expect(await release()).toMatchObject({ state: "RELEASED", unchanged: true });
  });
});

describe("with signatures switched off", () => {
  beforeEach(async () => {
    await fixture[Symbol.asyncDispose]();
    fixture = await createCatalogFixture(opened.database, { requireSignature: false });
  });

  it("unsigned firmware is released by a verb of its own, once", async () => {
    const { id } = await create();
    await fixture.upload(id);
    const released = await fixture.catalog.release(id, { actor });
    expect(released).toMatchObject({ state: "RELEASED", manifest: undefined, unchanged: false });
    expect(await fixture.catalog.release(id, { actor })).toEqual({ ...released, unchanged: true });
    const actions = await fixture.actions(id);
    expect(actions.filter((action) => action === "firmware.release")).toHaveLength(1);
  });

  it("unsigned firmware is released when it is deployed", async () => {
    const { id } = await create();
    await expect(fixture.catalog.requireDeployable(id, { actor })).rejects.toMatchObject({
      reason: "FIRMWARE_NOT_READY",
    });
    await fixture.upload(id);
    const deployed = await fixture.catalog.requireDeployable(id, { actor });
    expect(deployed).toMatchObject({ state: "RELEASED", manifest: undefined, releasedAt: expect.any(Date) });
    await expect(fixture.catalog.update(id, { deviceTypes: ["x"] }, { actor })).rejects.toMatchObject({
      reason: "FIRMWARE_IMMUTABLE",
    });
    expect(content).toHaveLength(deployed.sizeBytes);
  });
});

function pairOf(publicKey: KeyObject, privateKey: KeyObject): SigningKeyPair {
  const publicKeyPem = publicKey.export({ type: "spki", format: "pem" }).toString();
  return {
    publicKeyPem,
    privateKeyPem: privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
    keyId: thumbprint(publicKeyPem),
  };
}
