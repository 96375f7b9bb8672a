import { generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { OfferSchema } from "../../gen/ota/v1/update_service_pb.js";
import { createManifest } from "../manifest/manifest.ts";
import { signManifest, thumbprint } from "../manifest/signature.ts";
import type { AgentFailure } from "./agent-failure.ts";
import { type OfferTarget, trustIn, verifyOffer } from "./offer-check.ts";

const target: OfferTarget = {
  deviceType: "lamp",
  hardwareModel: "l-1",
  version: "1.1.0",
  securityFloor: 0,
  hasRun: () => false,
  product: undefined,
  maxSizeBytes: 1000,
  now: undefined,
};

function outcome(offered: string, running: string): string {
  const offer = create(OfferSchema, {
    updateId: "11111111-1111-7111-8111-111111111111",
    version: offered,
    component: "nav",
    sha256: "a".repeat(64),
    sizeBytes: 1n,
  });
  try {
    verifyOffer(offer, { ...target, version: running }, { keys: new Map(), allowUnsigned: true });
    return "taken";
  } catch (error) {
    return (error as AgentFailure).reason;
  }
}

it.each([
  ["1.2.0", "1.1.0", "taken"],
  ["1.0.0", "1.1.0", "DOWNGRADE_REFUSED"],
  ["1.0.0", "v1.1.0+git.abc", "DOWNGRADE_REFUSED"],
  ["1.1.0", "v1.1.0+git.abc", "taken"],
  ["1.1.0", "", "taken"],
  // Only the service knows which version that is.
  ["1.1.0", "2024.08.1", "taken"],
  ["34105904", "1.1.0", "INVALID_VERSION"],
])("an offer of %s to what runs %j: %s", (offered, running, expected) => {
  expect(outcome(offered, running)).toBe(expected);
});

describe("signatures", () => {
  const updateId = "11111111-1111-7111-8111-111111111111";
  const manifest = createManifest({
    product: "lamp-os",
    version: "1.2.0",
    securityCounter: 0,
    securityFix: false,
    sha256: "a".repeat(64),
    sizeBytes: 1,
    deviceTypes: ["lamp"],
    hardwareModels: [],
    minCurrentVersion: "",
    created: new Date("2026-01-01T00:00:00Z"),
    expires: undefined,
  });
  const inPem = (pair: { privateKey: KeyObject; publicKey: KeyObject }) => {
    const publicKeyPem = pair.publicKey.export({ type: "spki", format: "pem" }).toString();
    const privateKeyPem = pair.privateKey.export({ type: "pkcs8", format: "pem" }).toString();
    return { privateKeyPem, publicKeyPem, keyId: thumbprint(publicKeyPem) };
  };
  const ed = inPem(generateKeyPairSync("ed25519"));
  const ec = inPem(generateKeyPairSync("ec", { namedCurve: "P-256" }));
  const rsa = inPem(generateKeyPairSync("rsa", { modulusLength: 2048 }));
  const signedBy = (key: typeof ed, signature = signManifest(key.privateKeyPem, manifest)) => ({
    keyId: key.keyId,
    signature: new Uint8Array(signature),
  });

  function reasonOf(
    signatures: ReturnType<typeof signedBy>[],
    trust: Parameters<typeof trustIn>,
    bytes: Uint8Array = manifest,
  ): string {
    const offer = create(OfferSchema, {
      updateId,
      version: "1.2.0",
      sha256: "a".repeat(64),
      sizeBytes: 1n,
      manifest: new Uint8Array(bytes),
      signatures,
    });
    try {
      verifyOffer(offer, target, trustIn(...trust));
      return "taken";
    } catch (error) {
      return (error as AgentFailure).reason;
    }
  }

  it("over a manifest that also tells what devices need not know", () => {
    const members = JSON.parse(Buffer.from(manifest).toString()) as object;
    const info_attachments = [{ kind: "spdx", sha256: "b".repeat(64), size_bytes: 5 }];
    const more = Buffer.from(JSON.stringify({ ...members, info_attachments, info_of_next_year: { a: [1] } }));
    const signature = signManifest(ed.privateKeyPem, more);
    expect(reasonOf([signedBy(ed, signature)], [[ed.publicKeyPem]], more)).toBe("taken");
    const restricting = Buffer.from(JSON.stringify({ ...members, only_on_sundays: true }));
    const other = signManifest(ed.privateKeyPem, restricting);
    expect(reasonOf([signedBy(ed, other)], [[ed.publicKeyPem]], restricting)).toBe("INVALID_MANIFEST");
  });

  it("are counted by different keys, in whatever encoding one comes", () => {
    const pems = [ed.publicKeyPem, ec.publicKeyPem, rsa.publicKeyPem];
    const two = { required: { total: 2 } };
    const raw = sign("sha256", manifest, { key: ec.privateKeyPem, dsaEncoding: "ieee-p1363" });
    expect(reasonOf([signedBy(ec), signedBy(ec, raw)], [pems, two])).toBe("SIGNATURE_INVALID");
    expect(reasonOf([signedBy(ed), signedBy(ed)], [pems, two])).toBe("SIGNATURE_INVALID");
    expect(reasonOf([signedBy(ed), signedBy(ec, raw)], [pems, two])).toBe("taken");
    expect(reasonOf([signedBy(rsa), signedBy(ed)], [[...pems, ed.publicKeyPem], two])).toBe("taken");
  });

  it("are asked for by the roles that the device was told", () => {
    const security = { publicKeyPem: ec.publicKeyPem, role: "security" as const };
    const trusted = [ed.publicKeyPem, rsa.publicKeyPem, security];
    const required = { total: 2, release: 1, security: 1 };
    expect(reasonOf([signedBy(ed), signedBy(rsa)], [trusted, { required }])).toBe("SIGNATURE_INVALID");
    expect(reasonOf([signedBy(ed), signedBy(ec)], [trusted, { required }])).toBe("taken");
    expect(() => trustIn([ec.publicKeyPem, security])).toThrow(/given as release and as security/);
    expect(() => trustIn([ed.publicKeyPem], { required })).toThrow(/too few of them/);
  });

  it("have one spelling", () => {
    // One RSA signature in 256 begins with a zero byte, which OpenSSL does without.
    let pss = signManifest(rsa.privateKeyPem, manifest);
    while (pss[0] !== 0) pss = signManifest(rsa.privateKeyPem, manifest);
    expect(reasonOf([signedBy(rsa, pss)], [[rsa.publicKeyPem]])).toBe("taken");
    expect(reasonOf([signedBy(rsa, pss.subarray(1))], [[rsa.publicKeyPem]])).toBe("SIGNATURE_INVALID");

    const der = Buffer.from(signManifest(ec.privateKeyPem, manifest));
    const long = Buffer.concat([Buffer.of(0x30, 0x81, der[1] ?? 0), der.subarray(2)]);
    for (const wrong of [long, Buffer.concat([der, Buffer.of(0)])]) {
      expect(reasonOf([signedBy(ec, wrong)], [[ec.publicKeyPem]])).toBe("SIGNATURE_INVALID");
    }

    // S + L stands for the same number as S (RFC 8032, section 5.1.7, asks for S < L).
    const right = Buffer.from(signManifest(ed.privateKeyPem, manifest));
    const order = 2n ** 252n + 27_742_317_777_372_353_535_851_937_790_883_648_493n;
    const s = BigInt(`0x${Buffer.from(right.subarray(32)).reverse().toString("hex")}`) + order;
    const shifted = Buffer.from(s.toString(16).padStart(64, "0"), "hex").reverse();
    expect(
      reasonOf([signedBy(ed, Buffer.concat([right.subarray(0, 32), shifted]))], [[ed.publicKeyPem]]),
    ).toBe("SIGNATURE_INVALID");
  });
});
