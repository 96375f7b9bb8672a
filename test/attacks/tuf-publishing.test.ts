import { createHash } from "node:crypto";
import { canonicalize } from "@tufjs/canonical-json";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { TufRole, TufService } from "../../gen/ota/v1/tuf_service_pb.js";
import { generateSigningKey } from "../../src/manifest/signature.ts";
import { makeTargets } from "../../src/tuf/tuf-making.ts";
import { bytes, newContent, publish, refusal } from "../support/door-clients.ts";
import { startTestService, type TestService } from "../support/service.ts";
import { changed, inDays, signedBy, TufOperator, targetsIn } from "../support/tuf-operator.ts";

/** Somebody with a token, and perhaps with keys, hands in TUF metadata that no client should ever read. */

let service: TestService;
beforeAll(async () => {
  service = await startTestService();
});
afterAll(() => service[Symbol.asyncDispose]());

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

describe("the service publishes no root", () => {
  it.each<[string, string, (operator: TufOperator) => Promise<Uint8Array>]>([
    ["that skips a version", "TUF_VERSION_CONFLICT", (operator) => operator.makeRoot(3)],
    ["that is the first one again", "TUF_VERSION_CONFLICT", (operator) => operator.makeRoot(1)],
    ["that has expired", "TUF_METADATA_INVALID", (it) => it.makeRoot(2, { expiresAt: inDays(-1) })],
    [
      "that leaves the service no key",
      "TUF_METADATA_INVALID",
      (it) =>
        it.makeRoot(2, { online: { publicKeyPems: [generateSigningKey().publicKeyPem], threshold: 1 } }),
    ],
    [
      "that lets the service's key name firmware",
      "TUF_METADATA_INVALID",
      async (it) => {
        const online = { publicKeyPems: [await it.onlineKey()], threshold: 1 };
        return it.makeRoot(2, { online, targets: online });
      },
    ],
    [
      "by which the published targets are not signed",
      "TUF_SIGNATURES_MISSING",
      (it) =>
        it.makeRoot(2, { targets: { publicKeyPems: [generateSigningKey().publicKeyPem], threshold: 1 } }),
    ],
    [
      "without consistent snapshots",
      "TUF_METADATA_INVALID",
      async (it) => changed(await it.makeRoot(2), (signed) => (signed["consistent_snapshot"] = false)),
    ],
    [
      "whose threshold no keys can reach",
      "TUF_METADATA_INVALID",
      async (it) =>
        changed(await it.makeRoot(2), (signed) => {
          (signed["roles"] as { targets: { threshold: number } }).targets.threshold = 2;
        }),
    ],
    [
      "that never expires for somebody",
      "TUF_METADATA_INVALID",
      async (it) => changed(await it.makeRoot(2), (signed) => (signed["expires"] = "whenever")),
    ],
  ])("%s", async (_what, reason, make) => {
    const operator = await unchangedProduct();
    const root = await make(operator);
    const before = await operator.file("timestamp.json");
    const call = operator.client.unary(TufService.method.publishTufRoot, {
      product: operator.product,
      root: bytes(signedBy(root, ...operator.rootKeys)),
    });
    expect(await refusal(call)).toMatchObject({ reason });
    expect(await operator.file("timestamp.json")).toEqual(before);
  });

  it("that the keys of the one before, or its own, have not signed", async () => {
    const operator = await published();
    const { product } = operator;
    const fresh = [generateSigningKey(), generateSigningKey()];
    const root = { publicKeyPems: fresh.map(({ publicKeyPem }) => publicKeyPem), threshold: 2 };
    const next = await operator.makeRoot(2, { root });
    for (const keys of [[], fresh, operator.rootKeys, [...operator.rootKeys, ...fresh.slice(1)]]) {
      const signed = bytes(signedBy(next, ...keys));
      const call = operator.client.unary(TufService.method.publishTufRoot, { product, root: signed });
      expect(await refusal(call)).toMatchObject({ reason: "TUF_SIGNATURES_MISSING" });
    }
    const both = bytes(signedBy(next, ...operator.rootKeys, ...fresh));
    await operator.client.unary(TufService.method.publishTufRoot, { product, root: both });
    expect(bytes(await operator.file("2.root.json"))).toEqual(both);
  });

  it("with a key that counts twice, under another name or in another layout", async () => {
    const operator = await unchangedProduct();
    const [, key] = operator.rootKeys;
    const next = await operator.makeRoot(2);
    const twice = changed(next, (signed) => {
      const keys = signed["keys"] as Record<string, object>;
      const roles = signed["roles"] as { root: { keyids: string[] } };
      const [first = "", second = ""] = roles.root.keyids;
      keys[second] = { ...keys[first] };
    });
    const call = (root: Uint8Array) =>
      operator.client.unary(TufService.method.publishTufRoot, {
        product: operator.product,
        root: bytes(root),
      });
    expect(await refusal(call(twice))).toMatchObject({ reason: "TUF_METADATA_INVALID" });
    const inPem = changed(next, (signed) => {
      const keys = signed["keys"] as Record<string, object>;
      const pem = { keytype: "ed25519", scheme: "ed25519", keyval: { public: key?.publicKeyPem ?? "" } };
      const id = createHash("sha256").update(canonicalize(pem)).digest("hex");
      keys[id] = pem;
      const { root } = signed["roles"] as { root: { keyids: string[] } };
      root.keyids = [root.keyids[0] ?? "", id];
    });
    expect(await refusal(call(inPem))).toMatchObject({ reason: "TUF_METADATA_INVALID" });
  });
});

describe("the service publishes no targets", () => {
  type Change = (
    signed: { targets: Record<string, Record<string, unknown>> } & Record<string, unknown>,
  ) => void;
  it.each<[string, string, Change]>([
    [
      "of an older version",
      "TUF_VERSION_CONFLICT",
      (signed) => Object.assign(signed, { version: 1, expires: "2099-01-01T00:00:00Z" }),
    ],
    ["far ahead (fast-forward)", "TUF_VERSION_CONFLICT", (signed) => (signed["version"] = 2 ** 31 - 1)],
    ["that have expired", "TUF_METADATA_INVALID", (signed) => (signed["expires"] = "2020-01-01T00:00:00Z")],
    [
      "with firmware that nobody released",
      "TUF_METADATA_INVALID",
      ({ targets }) => (targets["6.6.6"] = { ...targets["1.0.0"] }),
    ],
    [
      "with another content",
      "TUF_METADATA_INVALID",
      ({ targets }) => (targets["1.0.0"] = { ...targets["1.0.0"], hashes: { sha256: "0".repeat(64) } }),
    ],
    [
      "with a manifest that is another one",
      "TUF_METADATA_INVALID",
      ({ targets }) => {
        const custom = { ...(targets["1.0.0"]?.["custom"] as object), manifest_sha256: "0".repeat(64) };
        targets["1.0.0"] = { ...targets["1.0.0"], custom };
      },
    ],
    ["that delegate", "TUF_METADATA_INVALID", (signed) => (signed["delegations"] = { keys: {}, roles: [] })],
    [
      "of more firmware than clients take",
      "TUF_METADATA_INVALID",
      ({ targets }) => {
        for (let n = 0; n < 2_001; n++) targets[`1.0.${n}`] = { length: 1, hashes: {} };
      },
    ],
  ])("%s", async (_what, reason, change) => {
    const operator = await unchangedProduct();
    const draft = changed(await operator.draft(), change as never);
    const before = await operator.file("timestamp.json");
    expect(await refusal(operator.publishTargets(signedBy(draft, operator.targetsKey)))).toMatchObject({
      reason,
    });
    expect(await operator.file("timestamp.json")).toEqual(before);
  });

  it("that another key signed, or a key of another role", async () => {
    const operator = await unchangedProduct();
    const draft = await operator.draft();
    for (const key of [generateSigningKey(), ...operator.rootKeys])
      expect(await refusal(operator.publishTargets(signedBy(draft, key)))).toMatchObject({
        reason: "TUF_SIGNATURES_MISSING",
      });
  });

  it.each([
    ["that are no JSON", "{"],
    ["that are no object", "null"],
    ["of another role", '{"signed":{"_type":"timestamp"},"signatures":[]}'],
    [
      "that lie deeper than anybody reads",
      `{"signed":${"[".repeat(90_000)}${"]".repeat(90_000)},"signatures":[]}`,
    ],
  ])("%s", async (_what, text) => {
    const operator = await unchangedProduct();
    const deep = `"deep":${"[".repeat(90_000)}${"]".repeat(90_000)},"_type"`;
    const draft = Buffer.from(await operator.draft())
      .toString()
      .replace('"_type"', deep);
    for (const wrong of [text, draft])
      expect(await refusal(operator.publishTargets(Buffer.from(wrong)))).toMatchObject({
        reason: "TUF_METADATA_INVALID",
      });
  });

  it("of another product, though the same key signs both", async () => {
    const [operator, other] = [await published(), await published()];
    const [targets] = Object.values(targetsIn(await other.file("1.targets.json")));
    const moved = makeTargets(2, inDays(9), [
      {
        path: "1.0.0",
        sizeBytes: targets?.length ?? 0,
        sha256: targets?.hashes["sha256"] ?? "",
        custom: targets?.custom as never,
      },
    ]);
    expect(await refusal(operator.publishTargets(signedBy(moved, operator.targetsKey)))).toMatchObject({
      reason: "TUF_METADATA_INVALID",
    });
  });

  it("twice of one version, however close they come together", async () => {
    const operator = await published();
    const draft = await operator.draft();
    const drafts = [1, 2, 3].map((days) =>
      signedBy(
        changed(draft, (signed) => (signed["expires"] = inDays(days).toISOString().replace(/\.\d+/, ""))),
        operator.targetsKey,
      ),
    );
    const outcomes = await Promise.allSettled(drafts.map((signed) => operator.publishTargets(signed)));
    expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    const { repository } = await operator.client.unary(TufService.method.getTufRepository, {
      product: operator.product,
    });
    expect(repository?.roles.map(({ role, version }) => [TufRole[role], version])).toEqual([
      ["ROOT", 1],
      ["TARGETS", 2],
      ["SNAPSHOT", 2],
      ["TIMESTAMP", 2],
    ]);
    const again = drafts[outcomes.findIndex(({ status }) => status === "fulfilled")] ?? draft;
    const { unchanged } = await operator.client.unary(TufService.method.publishTufTargets, {
      product: operator.product,
      targets: bytes(again),
    });
    expect(unchanged).toBe(true);
  });
});
