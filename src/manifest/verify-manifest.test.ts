import { describe, expect, it } from "vitest";
import { createManifest, type Manifest, maxManifestBytes } from "./manifest.ts";
import {
  generateSigningKey,
  type ManifestSignature,
  type SigningKeyPair,
  signManifest,
} from "./signature.ts";
import { verifyManifest } from "./verify-manifest.ts";

const fields: Manifest = {
  product: "gateway",
  version: "2.0.0",
  securityCounter: 0,
  securityFix: false,
  sha256: "ab".repeat(32),
  sizeBytes: 1,
  deviceTypes: ["gateway"],
  hardwareModels: [],
  minCurrentVersion: "",
  created: new Date("2026-01-01T00:00:00Z"),
  expires: new Date("2026-02-01T00:00:00Z"),
};
const manifest = createManifest(fields);
const first = generateSigningKey();
const second = generateSigningKey();
const stranger = generateSigningKey();
const trustedKeys = new Map([first, second].map((key) => [key.keyId, key.publicKeyPem]));
const signed = (key: SigningKeyPair, bytes = manifest): ManifestSignature => ({
  keyId: key.keyId,
  signature: signManifest(key.privateKeyPem, bytes),
});

describe("verifyManifest", () => {
  it("returns the manifest when enough trusted keys signed it", () => {
    expect(verifyManifest({ manifest, signatures: [signed(first)], trustedKeys, threshold: 1 })).toEqual(
      fields,
    );
    const signatures = [signed(stranger), signed(second), signed(first)];
    expect(verifyManifest({ manifest, signatures, trustedKeys, threshold: 2 })).toEqual(fields);
  });

  it.each([
    ["no signature", [], 1],
    ["a stranger's signature", [signed(stranger)], 1],
    ["a stranger's signature under a trusted id", [{ ...signed(stranger), keyId: first.keyId }], 1],
    ["one key twice", [signed(first), signed(first)], 2],
    ["one of two keys over other bytes", [signed(first), signed(second, manifest.subarray(1))], 2],
    ["a threshold of nought", [], 0],
    ["no threshold", [signed(first)], Number.NaN],
  ])("refuses %s", (_, signatures, threshold) => {
    expect(() => verifyManifest({ manifest, signatures, trustedKeys, threshold })).toThrow(
      expect.objectContaining({ reason: "SIGNATURE_INVALID" }),
    );
  });

  it("counts a key once that is trusted under two ids", () => {
    const twice = new Map([
      ["a", first.publicKeyPem],
      ["b", first.publicKeyPem.replaceAll("\n", "\r\n")],
    ]);
    const { signature } = signed(first);
    const signatures = [
      { keyId: "a", signature },
      { keyId: "b", signature },
    ];
    expect(() => verifyManifest({ manifest, signatures, trustedKeys: twice, threshold: 2 })).toThrow(
      expect.objectContaining({
        reason: "SIGNATURE_INVALID",
        metadata: { valid_signatures: "1", threshold: "2" },
      }),
    );
  });

  it("does not read what is not signed", () => {
    const garbage = new TextEncoder().encode("not a manifest");
    expect(() =>
      verifyManifest({ manifest: garbage, signatures: [signed(first)], trustedKeys, threshold: 1 }),
    ).toThrow(expect.objectContaining({ reason: "SIGNATURE_INVALID" }));
    expect(() =>
      verifyManifest({ manifest: garbage, signatures: [signed(first, garbage)], trustedKeys, threshold: 1 }),
    ).toThrow(expect.objectContaining({ reason: "INVALID_MANIFEST" }));
  });

  it("refuses too many bytes before it looks at signatures", () => {
    const large = new Uint8Array(maxManifestBytes + 1);
    expect(() =>
      verifyManifest({ manifest: large, signatures: [signed(first, large)], trustedKeys, threshold: 1 }),
    ).toThrow(expect.objectContaining({ reason: "INVALID_MANIFEST" }));
  });

  it("refuses an expired manifest from the very moment on, if it is told the time", () => {
    const at = (now: Date | undefined): Manifest =>
      verifyManifest({ manifest, signatures: [signed(first)], trustedKeys, threshold: 1, now });
    expect(at(new Date("2026-01-31T23:59:59.999Z"))).toEqual(fields);
    expect(at(undefined)).toEqual(fields);
    expect(() => at(new Date("2026-02-01T00:00:00Z"))).toThrow(
      expect.objectContaining({ code: "failed_precondition", reason: "FIRMWARE_EXPIRED" }),
    );
  });
});
