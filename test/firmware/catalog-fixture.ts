import { createHash, randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { AuditLog } from "../../src/access/audit-log.ts";
import { SignatureRequirements } from "../../src/access/signature-requirements.ts";
import { SigningKeys } from "../../src/access/signing-keys.ts";
import { entities } from "../../src/entities.ts";
import type { FirmwareFields, NewSignature } from "../../src/firmware/firmware.ts";
import { FirmwareCatalog } from "../../src/firmware/firmware-catalog.ts";
import { FirmwareUploads } from "../../src/firmware/firmware-uploads.ts";
import { SignOff } from "../../src/firmware/sign-off.ts";
import type { ReleasePolicy } from "../../src/firmware/signature-rule.ts";
import { StoredContents } from "../../src/firmware/stored-contents.ts";
import { Database } from "../../src/infra/database/database.ts";
import { IdempotencyKeys } from "../../src/infra/database/idempotency-keys.ts";
import { createLogger } from "../../src/infra/logger.ts";
import { LocalObjectStore } from "../../src/infra/objects/local-object-store.ts";
import { createManifest, type Manifest } from "../../src/manifest/manifest.ts";
import type { KeyRole } from "../../src/manifest/required-signatures.ts";
import { generateSigningKey, type SigningKeyPair, signManifest } from "../../src/manifest/signature.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { createTestDatabase } from "../support/postgres.ts";

/** What {@link createCatalogFixture} makes. */
export type CatalogFixture = Awaited<ReturnType<typeof createCatalogFixture>>;

export const actor = "operator:test";
export const caller = { actor, signal: new AbortController().signal };
export const content = randomBytes(10_000);

/** What a test firmware says, over {@link content}. */
export const fields: FirmwareFields = {
  product: "thermostat-os",
  version: "1.4.0",
  deviceTypes: ["thermostat"],
  hardwareModels: ["t100", "t200"],
  minBatteryPercent: 20,
  minFreeStorageBytes: 1_000_000,
  minCurrentVersion: "1.0.0",
  releaseNotes: "Better.",
  metadata: { team: "heat" },
  sha256: createHash("sha256").update(content).digest("hex"),
  sizeBytes: content.length,
  securityCounter: 2,
  securityFix: false,
  kind: "FIRMWARE",
  component: "",
  mandatoryStep: false,
  reportedVersions: [],
};

/** A migrated database for a file of tests. */
export async function openDatabase(): Promise<{ database: Database } & AsyncDisposable> {
  await using cleanup = new AsyncDisposableStack();
  const { url } = cleanup.use(await createTestDatabase());
  const logger = createLogger({ level: "silent", pretty: false });
  const database = cleanup.use(await Database.connect({ url, logger, entities }));
  const owned = cleanup.move();
  return { database, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/**
 * An empty catalogue with its real parts and an object store of its own; rollouts are played by the map `inUse` from
 * firmware id to rollout id.
 */
export async function createCatalogFixture(database: Database, policy: Partial<ReleasePolicy> = {}) {
  await using cleanup = new AsyncDisposableStack();
  await database.adminPool.query(
    "TRUNCATE firmware_updates, firmware_signatures, signing_keys, signature_requirements, request_ids CASCADE",
  );
  const folder = await mkdtemp(join(tmpdir(), "firmware-catalog-"));
  cleanup.defer(() => rm(folder, { recursive: true }));
  const clock = new FakeClock("2026-03-01T00:00:00Z");
  const store = cleanup.use(new LocalObjectStore(folder, clock));
  const audit = new AuditLog({ database });
  const keys = new SigningKeys({
    database,
    audit,
    clock,
    revoked: { signingKeyRevoked: async () => 0 },
  });
  const inUse = new Map<string, string>();
  const signOff = new SignOff(
    keys,
    { requireSignature: true, signatureThreshold: 1, acceptTestKeys: false, ...policy },
    clock,
  );
  const contents = new StoredContents(store, clock);
  const catalog = new FirmwareCatalog({
    database,
    idempotency: new IdempotencyKeys(),
    audit,
    contents,
    signOff,
    inUse: { rolloutUsing: async (_, firmwareId) => inUse.get(firmwareId) },
    clock,
  });
  const uploads = new FirmwareUploads({ catalog, store, contents });
  cleanup.defer(() => uploads.close());
  const owned = cleanup.move();
  return {
    audit,
    catalog,
    clock,
    contents,
    database,
    folder,
    inUse,
    keys,
    store,
    uploads,
    /** Registers a fresh key. */
    registerKey: async (
      said: { readonly role?: KeyRole; readonly expiresAt?: Date } = {},
      key: SigningKeyPair = generateSigningKey(),
    ): Promise<SigningKeyPair> => {
      await keys.register({ actor, name: "test", publicKeyPem: key.publicKeyPem, ...said });
      return key;
    },
    requirements: new SignatureRequirements({ database, audit, clock }),
    revokeKey: (key: SigningKeyPair) => keys.revoke({ actor, id: key.keyId, reason: "stolen" }),
    /** Brings the content into the store and records it. */
    upload: (id: string) =>
      uploads.append(id, { offset: 0, data: content, finish: true }, caller).then(({ firmware }) => firmware),
    /** Brings the content into the store, past the catalogue. */
    storeContent: () => store.put(Readable.from([content]), { maxBytes: content.length }),
    actions: async (resourceId: string): Promise<string[]> => {
      const events = await audit.list({ resourceId }, { limit: 100 });
      return events.map(({ action }) => action).reverse();
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** A manifest that agrees with {@link fields}, but for what is given. */
export function manifestOf(changes: Partial<Manifest> = {}): Uint8Array {
  const created = new Date("2026-02-01T00:00:00Z");
  return createManifest({ ...fields, created, expires: undefined, ...changes });
}

/** A signature over a manifest, as an operator hands it in. */
export function signatureOf(key: SigningKeyPair, manifest = manifestOf()): NewSignature {
  return { manifest, keyId: key.keyId, signature: signManifest(key.privateKeyPem, manifest) };
}
