import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { FirmwareService } from "../../gen/ota/v1/firmware_service_pb.js";
import { TufService } from "../../gen/ota/v1/tuf_service_pb.js";
import { generateSigningKey, publicKeyOf } from "../../src/manifest/signature.ts";
import { makeSnapshot, makeTargets, makeTimestamp } from "../../src/tuf/tuf-making.ts";
import { enrolDevice, http, newContent, publish, refusal } from "../support/door-clients.ts";
import { query } from "../support/postgres.ts";
import { startTestService, type TestService } from "../support/service.ts";
import { TufMirror } from "../support/tuf-mirror.ts";
import { inDays, signedBy, TufOperator } from "../support/tuf-operator.ts";

/** TUF metadata, followed by the stock client `tuf-js`, with somebody in between; and what the service lets nobody publish. */

let service: TestService;
let mirror: TufMirror;
beforeAll(async () => {
  service = await startTestService();
  mirror = await TufMirror.start(service);
});
beforeEach(() => mirror.lies.clear());
afterAll(async () => {
  await mirror[Symbol.asyncDispose]();
  await service[Symbol.asyncDispose]();
});

let products = 0;

/** A product with one released version, 1.0.0, and its metadata. */
async function published(): Promise<TufOperator> {
  const product = `tuf-${++products}`;
  await publish(service, newContent(100), { product, version: "1.0.0" });
  return await new TufOperator(service, product).firstDay();
}

/** One for all that are refused, and change nothing. */
let undisturbed: Promise<TufOperator> | undefined;
function unchangedProduct(): Promise<TufOperator> {
  undisturbed ??= published();
  return undisturbed;
}

/** The private key with which the service signs a product's snapshot and timestamp: from a stolen backup, say. */
async function stolenOnlineKeys(product: string): Promise<string[]> {
  const rows = await query<{ private_key_pem: string }>(
    service.databaseUrl,
    "SELECT private_key_pem FROM tuf_online_keys WHERE product = $1",
    [product],
  );
  return rows.map(({ private_key_pem }) => private_key_pem);
}

describe("a stock client", () => {
  it("follows what is published, and takes its firmware for what the signers named", async () => {
    const product = `tuf-${++products}`;
    const content = newContent(1_000);
    const firmware = await publish(service, content, { product, version: "1.0.0" });
    const operator = await new TufOperator(service, product).firstDay();
    const client = await mirror.client(product, operator.root);
    const target = await client.find("1.0.0");
    await target?.verify(Readable.from([content]));
    await expect(target?.verify(Readable.from([newContent(1_000)]))).rejects.toThrow("Expected hash");
    const { firmware: signed } = await service
      .client()
      .unary(FirmwareService.method.getFirmware, { id: firmware.id });
    expect(target?.custom).toEqual({
      product,
      component: "",
      version: "1.0.0",
      manifest_sha256: createHash("sha256")
        .update(signed?.manifest ?? "")
        .digest("hex"),
    });
    expect(await client.find("1.1.0")).toBeUndefined();

    await publish(service, newContent(100), { product, version: "1.1.0" });
    expect(await client.find("1.1.0")).toBeUndefined();
    await operator.release();
    expect(await client.find("1.1.0")).toBeDefined();
  });

  it("refuses what was newest once (rollback)", async () => {
    const operator = await published();
    const client = await mirror.client(operator.product, operator.root);
    const [timestamp, snapshot, targets] = await Promise.all(
      ["timestamp.json", "1.snapshot.json", "1.targets.json"].map((name) => operator.file(name)),
    );
    await publish(service, newContent(100), { product: operator.product, version: "1.1.0" });
    await operator.release();
    expect(await client.find("1.1.0")).toBeDefined();
    mirror.lies.set("timestamp.json", timestamp ?? new Uint8Array());
    await expect(client.find("1.1.0")).rejects.toThrow("is less than current version");
    // One that has seen nothing newer cannot know, but what it takes fits together.
    const fresh = await mirror.client(operator.product, operator.root);
    expect(await fresh.find("1.1.0")).toBeUndefined();
    mirror.lies.clear();
    mirror.lies.set("2.snapshot.json", snapshot ?? new Uint8Array());
    await expect((await mirror.client(operator.product, operator.root)).find("1.1.0")).rejects.toThrow(
      /Expected (hash|length)/,
    );
    mirror.lies.clear();
    mirror.lies.set("2.targets.json", targets ?? new Uint8Array());
    await expect((await mirror.client(operator.product, operator.root)).find("1.1.0")).rejects.toThrow(
      /Expected (hash|length)/,
    );
  });

  it("notices that it hears nothing new (freeze)", async () => {
    const operator = await published();
    const client = await mirror.client(operator.product, operator.root);
    expect(await client.find("1.0.0")).toBeDefined();
    for (const file of ["timestamp.json", "1.snapshot.json", "1.targets.json"])
      mirror.lies.set(file, await operator.file(file));
    expect(await client.find("1.0.0", inDays(0.9))).toBeDefined();
    await expect(client.find("1.0.0", inDays(1.1))).rejects.toThrow("timestamp.json is expired");
  });

  it("refuses metadata of different times and of another product (mix-and-match)", async () => {
    const [operator, other] = [await published(), await published()];
    const client = await mirror.client(operator.product, operator.root);
    const old = await operator.file("1.snapshot.json");
    await publish(service, newContent(100), { product: operator.product, version: "1.1.0" });
    await operator.release();
    mirror.lies.set("2.snapshot.json", old);
    await expect(client.find("1.1.0")).rejects.toThrow(/Expected (hash|length)/);
    mirror.lies.clear();
    mirror.lies.set("timestamp.json", await other.file("timestamp.json"));
    await expect(client.find("1.1.0")).rejects.toThrow("timestamp was signed by 0/1 keys");
  });

  it.each(["timestamp.json", "1.snapshot.json", "1.targets.json", "2.root.json"])(
    "does not read %s without end",
    async (file) => {
      const operator = await unchangedProduct();
      const client = await mirror.client(operator.product, operator.root);
      mirror.lies.set(file, "endless");
      await expect(client.find("1.0.0")).rejects.toThrow("Max length reached");
    },
  );

  it("takes nobody's signature for that of a role", async () => {
    const operator = await unchangedProduct();
    const client = await mirror.client(operator.product, operator.root);
    const stranger = generateSigningKey();
    mirror.lies.set(
      "2.root.json",
      signedBy(await operator.makeRoot(2), stranger, ...operator.rootKeys.slice(1)),
    );
    await expect(client.find("1.0.0")).rejects.toThrow("root was signed by 1/2 keys");
    mirror.lies.clear();
    const snapshot = { version: 1, bytes: await operator.file("1.snapshot.json") };
    const keys = [stranger.privateKeyPem];
    mirror.lies.set("timestamp.json", makeTimestamp({ version: 9, expiresAt: inDays(9), keys }, snapshot));
    await expect(client.find("1.0.0")).rejects.toThrow("timestamp was signed by 0/1 keys");
  });

  it("is told of no firmware by whoever has the service's keys", async () => {
    const operator = await unchangedProduct();
    const client = await mirror.client(operator.product, operator.root);
    const keys = await stolenOnlineKeys(operator.product);
    const [privateKeyPem = ""] = keys;
    const stolen = { privateKeyPem, publicKeyPem: publicKeyOf(privateKeyPem), keyId: "" };
    const target = { path: "6.6.6", sizeBytes: 1, sha256: "0".repeat(64) };
    const custom = { product: operator.product, component: "", version: "6.6.6", manifest_sha256: "" };
    const evil = signedBy(makeTargets(2, inDays(9), [{ ...target, custom }]), stolen);
    const snapshot = makeSnapshot({ version: 2, expiresAt: inDays(9), keys }, { version: 2, bytes: evil });
    mirror.lies.set("2.targets.json", evil);
    mirror.lies.set("2.snapshot.json", snapshot);
    mirror.lies.set(
      "timestamp.json",
      makeTimestamp({ version: 2, expiresAt: inDays(9), keys }, { version: 2, bytes: snapshot }),
    );
    await expect(client.find("6.6.6")).rejects.toThrow("targets was signed by 0/1 keys");
  });

  it("comes back after a fast-forward once root names another key of the service", async () => {
    const operator = await published();
    const client = await mirror.client(operator.product, operator.root);
    const keys = await stolenOnlineKeys(operator.product);
    const version = 2 ** 31 - 1;
    const targets = { version: 1, bytes: await operator.file("1.targets.json") };
    const snapshot = makeSnapshot({ version, expiresAt: inDays(9), keys }, targets);
    mirror.lies.set(`${version}.snapshot.json`, snapshot);
    mirror.lies.set(
      "timestamp.json",
      makeTimestamp({ version, expiresAt: inDays(9), keys }, { version, bytes: snapshot }),
    );
    expect(await client.find("1.0.0")).toBeDefined();
    mirror.lies.clear();
    await expect(client.find("1.0.0")).rejects.toThrow("is less than current version");

    await operator.publishRoot(await operator.makeRoot(2));
    expect(await client.find("1.0.0")).toBeDefined();
    // The stolen key is gone, and signs nothing any more.
    expect(await stolenOnlineKeys(operator.product)).toHaveLength(1);
    expect(await stolenOnlineKeys(operator.product)).not.toEqual(keys);
  });

  it("no longer finds what was recalled, once the signers left it out", async () => {
    const operator = await published();
    const { product } = operator;
    const bad = await publish(service, newContent(100), { product, version: "1.1.0" });
    const good = await publish(service, newContent(100), { product, version: "1.2.0" });
    await operator.release();
    const client = await mirror.client(product, operator.root);
    expect(await client.find("1.1.0")).toBeDefined();
    const admin = service.client();
    const signedBefore = signedBy(await operator.draft(), operator.targetsKey);
    await admin.unary(FirmwareService.method.recallFirmware, { id: bad.id, replacementId: good.id });
    const { removedVersions, addedVersions } = await admin.unary(TufService.method.draftTufTargets, {
      product,
    });
    expect([removedVersions, addedVersions]).toEqual([["1.1.0"], []]);
    expect(await refusal(operator.publishTargets(signedBefore))).toMatchObject({
      reason: "TUF_METADATA_INVALID",
    });
    await operator.release();
    expect(await client.find("1.1.0")).toBeUndefined();
    expect(await client.find("1.2.0")).toBeDefined();
  });
});

it("metadata is read by whoever has a credential, and by nobody else unless a setting says so", async () => {
  const operator = await published();
  const path = `/tuf/${operator.product}`;
  const { token } = await enrolDevice(service);
  const answer = await http(service, "GET", `${path}/timestamp.json`, { token });
  expect(answer.status).toBe(200);
  expect(answer.headers.get("cache-control")).toBe("private, no-cache");
  expect((await http(service, "GET", `${path}/timestamp.json`, {})).status).toBe(401);
  for (const file of [
    "root.json",
    "1.timestamp.json",
    "9.root.json",
    "99999999999.root.json",
    "..%2f..%2fetc%2fpasswd",
    "mirrors.json",
  ])
    expect((await http(service, "GET", `${path}/${file}`, { token })).status, file).toBe(404);
  for (const product of ["nobody", "a%00b"])
    expect((await http(service, "GET", `/tuf/${product}/timestamp.json`, { token })).status, product).toBe(
      404,
    );

  await using open = await startTestService({ settings: { DEVICE_OTA_TUF_PUBLIC: "true" } });
  await publish(open, newContent(100), { product: "open", version: "1.0.0" });
  await new TufOperator(open, "open").firstDay();
  const read = await http(open, "GET", "/tuf/open/1.targets.json", {});
  expect(read.status).toBe(200);
  expect(read.headers.get("cache-control")).toBe("public, max-age=86400, immutable");
});
