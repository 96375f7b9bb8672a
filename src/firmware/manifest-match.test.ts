import { describe, expect, it } from "vitest";
import type { Manifest } from "../manifest/manifest.ts";
import { assertManifestMatches, sameNames } from "./manifest-match.ts";

const manifest: Manifest = {
  product: "gateway",
  version: "2.0.0",
  securityCounter: 1,
  securityFix: false,
  sha256: "ab".repeat(32),
  sizeBytes: 10,
  deviceTypes: ["a", "b"],
  hardwareModels: [],
  minCurrentVersion: "",
  created: new Date(0),
  expires: undefined,
};
const firmware = { ...manifest, component: "" };

describe("assertManifestMatches", () => {
  it("accepts the same fields, names in any order", () => {
    expect(() => assertManifestMatches(manifest, firmware, [])).not.toThrow();
    expect(() => assertManifestMatches(manifest, { ...firmware, deviceTypes: ["b", "a"] }, [])).not.toThrow();
  });

  it.each([
    ["product", { product: "Gateway" }],
    ["version", { version: "2.0.1" }],
    ["component", { component: "navigator" }],
    ["security_counter", { securityCounter: 0 }],
    ["security_fix", { securityFix: true }],
    ["sha256", { sha256: "ac".repeat(32) }],
    ["size_bytes", { sizeBytes: 11 }],
    ["device_types", { deviceTypes: ["a"] }],
    ["hardware_models", { hardwareModels: ["m"] }],
    ["min_current_version", { minCurrentVersion: "1.0.0" }],
  ])("refuses another %s and names it", (field, change) => {
    expect(() => assertManifestMatches(manifest, { ...firmware, ...change }, [])).toThrow(
      expect.objectContaining({
        code: "invalid_argument",
        reason: "INVALID_MANIFEST",
        metadata: expect.objectContaining({ field }),
      }),
    );
  });
});

describe("files beside a firmware", () => {
  const file = { kind: "spdx", sha256: "cd".repeat(32), sizeBytes: 3 } as const;
  const other = { ...file, kind: "cyclonedx" } as const;

  it("are all in the manifest, in any order, and no others", () => {
    const signed = { ...manifest, attachments: [file, other] };
    expect(() => assertManifestMatches(signed, firmware, [other, file])).not.toThrow();
    for (const [named, recorded] of [
      [signed, [file]],
      [manifest, [file]],
      [signed, []],
      [signed, [file, { ...other, sizeBytes: 4 }]],
    ] as const) {
      expect(() => assertManifestMatches(named, firmware, recorded)).toThrow(
        expect.objectContaining({ metadata: expect.objectContaining({ field: "info_attachments" }) }),
      );
    }
  });
});

describe("sameNames", () => {
  it("compares as sets", () => {
    expect(sameNames(["a", "b"], ["b", "a", "a"])).toBe(true);
    expect(sameNames(["a"], ["a", "b"])).toBe(false);
    expect(sameNames([], [])).toBe(true);
  });
});
