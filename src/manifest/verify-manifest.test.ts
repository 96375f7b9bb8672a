import { describe, expect, it } from "vitest";
import type { OtaError } from "../errors.ts";
import { createManifest, type Manifest, maxManifestBytes } from "./manifest.ts";
import type { KeyRole } from "./required-signatures.ts";
import {
  generateSigningKey,
  type ManifestSignature,
  type SigningKeyPair,
  signManifest,
} from "./signature.ts";
import { type TrustedKey, verifyManifest } from "./verify-manifest.ts";

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
const guard = generateSigningKey();
const trusted = ({ publicKeyPem }: SigningKeyPair, role: KeyRole = "release"): TrustedKey => ({
  publicKeyPem,
  role,
});
const trustedKeys = new Map([first, second].map((key) => [key.keyId, trusted(key)]));
const signed = (key: SigningKeyPair, bytes = manifest): ManifestSignature => ({
  keyId: key.keyId,
  signature: signManifest(key.privateKeyPem, bytes),
});

describe("verifyManifest", () => {
  it("returns the manifest when enough trusted keys signed it", () => {
    expect(
      verifyManifest({ manifest, signatures: [signed(first)], trustedKeys, required: { total: 1 } }),
    ).toEqual(fields);
    const signatures = [signed(stranger), signed(second), signed(first)];
    expect(verifyManifest({ manifest, signatures, trustedKeys, required: { total: 2 } })).toEqual(fields);
  });

  it.each([
    ["no signature", [], 1],
    ["a stranger's signature", [signed(stranger)], 1],
    ["a stranger's signature under a trusted id", [{ ...signed(stranger), keyId: first.keyId }], 1],
    ["one key twice", [signed(first), signed(first)], 2],
    ["one of two keys over other bytes", [signed(first), signed(second, manifest.subarray(1))], 2],
    ["a threshold of nought", [], 0],
    ["no threshold", [signed(first)], Number.NaN],
  ])("refuses %s", (_, signatures, total) => {
    expect(() => verifyManifest({ manifest, signatures, trustedKeys, required: { total } })).toThrow(
      expect.objectContaining({ reason: "SIGNATURE_INVALID" }),
    );
  });

  it("counts a key once that is trusted under two ids", () => {
    const twice = new Map([
      ["a", trusted(first)],
      ["b", { publicKeyPem: first.publicKeyPem.replaceAll("\n", "\r\n"), role: "security" as const }],
    ]);
    const { signature } = signed(first);
    const signatures = [
      { keyId: "a", signature },
      { keyId: "b", signature },
    ];
    expect(() =>
      verifyManifest({ manifest, signatures, trustedKeys: twice, required: { total: 2 } }),
    ).toThrow(
      expect.objectContaining({
        reason: "SIGNATURE_INVALID",
        metadata: { valid_signatures: "1", threshold: "2" },
      }),
    );
  });

  it.each([
    ["two release keys", "two of release", [first, second], { total: 2, release: 2 }, true],
    ["a release and the security key", "two of release", [first, guard], { total: 2, release: 2 }, false],
    [
      "a release and the security key",
      "one of each",
      [first, guard],
      { total: 2, release: 1, security: 1 },
      true,
    ],
    ["two release keys", "one of security", [first, second], { total: 1, security: 1 }, false],
    ["the security key", "one of each", [guard], { total: 1, release: 1, security: 1 }, false],
  ])("judges by roles: %s where %s must have signed", (_who, _what, signers, required, enough) => {
    const byRole = new Map([...trustedKeys, [guard.keyId, trusted(guard, "security")]]);
    const signatures = signers.map((key) => signed(key));
    const outcome = (): string => {
      try {
        return verifyManifest({ manifest, signatures, trustedKeys: byRole, required }).version;
      } catch (error) {
        return (error as OtaError).reason;
      }
    };
    expect(outcome()).toBe(enough ? fields.version : "SIGNATURE_INVALID");
  });

  it("does not read what is not signed", () => {
    const garbage = new TextEncoder().encode("not a manifest");
    expect(() =>
      verifyManifest({ manifest: garbage, signatures: [signed(first)], trustedKeys, required: { total: 1 } }),
    ).toThrow(expect.objectContaining({ reason: "SIGNATURE_INVALID" }));
    expect(() =>
      verifyManifest({
        manifest: garbage,
        signatures: [signed(first, garbage)],
        trustedKeys,
        required: { total: 1 },
      }),
    ).toThrow(expect.objectContaining({ reason: "INVALID_MANIFEST" }));
  });

  it("refuses too many bytes before it looks at signatures", () => {
    const large = new Uint8Array(maxManifestBytes + 1);
    expect(() =>
      verifyManifest({
        manifest: large,
        signatures: [signed(first, large)],
        trustedKeys,
        required: { total: 1 },
      }),
    ).toThrow(expect.objectContaining({ reason: "INVALID_MANIFEST" }));
  });

  it("refuses an expired manifest from the very moment on, if it is told the time", () => {
    const at = (now: Date | undefined): Manifest =>
      verifyManifest({ manifest, signatures: [signed(first)], trustedKeys, required: { total: 1 }, now });
    expect(at(new Date("2026-01-31T23:59:59.999Z"))).toEqual(fields);
    expect(at(undefined)).toEqual(fields);
    expect(() => at(new Date("2026-02-01T00:00:00Z"))).toThrow(
      expect.objectContaining({ code: "failed_precondition", reason: "FIRMWARE_EXPIRED" }),
    );
  });
});
