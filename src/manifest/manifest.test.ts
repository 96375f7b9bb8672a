import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { OtaError } from "../errors.ts";
import { attachmentKinds } from "./attachment.ts";
import {
  createManifest,
  isCanonicalVersion,
  type Manifest,
  maxManifestBytes,
  parseManifest,
} from "./manifest.ts";

const example: Manifest = {
  product: "thermostat-os",
  version: "1.4.0-rc.1",
  securityCounter: 3,
  securityFix: true,
  sha256: "0123456789abcdef".repeat(4),
  sizeBytes: 4_194_304,
  deviceTypes: ["thermostat"],
  hardwareModels: ["t100", "t200"],
  minCurrentVersion: "1.2.0",
  created: new Date("2026-03-01T10:00:00.000Z"),
  expires: new Date("2027-03-01T10:00:00.000Z"),
};

const text = (manifest: Manifest): string => new TextDecoder().decode(createManifest(manifest));
const parse = (json: string): Manifest => parseManifest(new TextEncoder().encode(json));
const fieldOf = (act: () => unknown): string | undefined => {
  try {
    act();
  } catch (error) {
    if (error instanceof OtaError && error.reason === "INVALID_MANIFEST") return error.metadata["field"];
    throw error;
  }
  throw new Error("nothing was refused");
};

const outcomeOf = (act: () => unknown): string => {
  try {
    act();
    return "read";
  } catch (error) {
    return error instanceof OtaError ? error.reason : String(error);
  }
};

describe("createManifest", () => {
  it("writes one member a line in a fixed order", () => {
    expect(text(example)).toBe(`{
  "type": "ota.v1.firmware-manifest",
  "product": "thermostat-os",
  "version": "1.4.0-rc.1",
  "security_counter": 3,
  "security_fix": true,
  "sha256": "${"0123456789abcdef".repeat(4)}",
  "size_bytes": 4194304,
  "device_types": ["thermostat"],
  "hardware_models": ["t100", "t200"],
  "min_current_version": "1.2.0",
  "created": "2026-03-01T10:00:00.000Z",
  "expires": "2027-03-01T10:00:00.000Z"
}
`);
  });

  it("names from where devices may go back only where somebody said so", () => {
    expect(text({ ...example, downgradeFrom: "" })).toBe(text(example));
    expect(text({ ...example, downgradeFrom: "1.5.0" })).toContain(
      '"min_current_version": "1.2.0",\n  "downgrade_from": "1.5.0",\n  "created"',
    );
  });

  it("refuses fields that it could not read back", () => {
    expect(fieldOf(() => createManifest({ ...example, version: "1.4" }))).toBe("version");
    expect(fieldOf(() => createManifest({ ...example, created: new Date(Number.NaN) }))).toBe("created");
  });
});

describe("parseManifest", () => {
  it("reads back what createManifest wrote, for any manifest", () => {
    fc.assert(
      fc.property(anyManifest(), (manifest) => {
        const bytes = createManifest(manifest);
        expect(parseManifest(bytes)).toEqual(manifest);
        expect(createManifest(parseManifest(bytes))).toEqual(bytes);
      }),
    );
  });

  it("reads members in any order and layout", () => {
    const members = Object.entries(JSON.parse(text(example)) as Record<string, unknown>).reverse();
    expect(parse(JSON.stringify(Object.fromEntries(members)))).toEqual(example);
  });

  it.each([
    ["type", "ota.v2.firmware-manifest"],
    ["type", undefined],
    ["product", ""],
    ["product", "../etc"],
    ["product", 7],
    ["version", "1.4"],
    ["version", "v1.4.0"],
    ["version", "1.4.0+build.7"],
    ["version", "1.04.0"],
    ["security_counter", -1],
    ["security_counter", 1.5],
    ["security_counter", "3"],
    ["security_counter", 2 ** 31],
    ["security_fix", "true"],
    ["sha256", "ABCDEF".repeat(11)],
    ["sha256", "ab"],
    ["size_bytes", 0],
    ["size_bytes", 2 ** 53],
    ["device_types", []],
    ["device_types", "thermostat"],
    ["device_types", ["a", "a"]],
    ["hardware_models", [1]],
    ["hardware_models", null],
    ["min_current_version", "1"],
    ["downgrade_from", ""],
    ["downgrade_from", "1.5"],
    ["downgrade_from", null],
    ["info_attachments", []],
    ["info_attachments", "spdx"],
    ["info_attachments", [null]],
    ["info_attachments", [{ kind: "zip", sha256: "ab".repeat(32), size_bytes: 1 }]],
    ["info_attachments", [{ kind: "spdx", sha256: "ab", size_bytes: 1 }]],
    ["info_attachments", [{ kind: "spdx", sha256: "ab".repeat(32), size_bytes: 0 }]],
    ["info_attachments", [{ kind: "spdx", sha256: "ab".repeat(32), size_bytes: 1, path: "x" }]],
    [
      "info_attachments",
      Array.from({ length: 17 }, () => ({ kind: "spdx", sha256: "ab".repeat(32), size_bytes: 1 })),
    ],
    ["info_", "nothing"],
    ["information", "nothing"],
    ["INFO_x", "nothing"],
    ["created", null],
    ["created", "2026-02-31T00:00:00Z"],
    ["created", "2026-02-01T00:00:00+01:00"],
    ["expires", ""],
    ["expires", undefined],
  ])("refuses %s = %j and names the member", (member, value) => {
    const members = { ...(JSON.parse(text(example)) as Record<string, unknown>), [member]: value };
    expect(fieldOf(() => parse(JSON.stringify(members)))).toBe(member);
  });

  it("refuses a member that it does not know, also __proto__", () => {
    expect(fieldOf(() => parse(text(example).replace("{", '{"max_version": "9.9.9",')))).toBe("max_version");
    expect(fieldOf(() => parse(text(example).replace("{", '{"__proto__": {},')))).toBe("__proto__");
  });

  it("refuses a repeated member, however it is spelt", () => {
    // Also within a member that nobody has to know.
    const inside = { ...(JSON.parse(text(example)) as object), info_more: { a: 1, b: [{ c: "x" }] } };
    expect(() => parse(JSON.stringify(inside))).not.toThrow();
    expect(fieldOf(() => parse(JSON.stringify(inside).replace('"c":', '"c":1,"c":')))).toBe("manifest");
    const twice = text(example).replace("{", '{"version": "9.9.9",');
    expect(fieldOf(() => parse(twice))).toBe("manifest");
    const escaped = text(example).replace("{", '{"versio\\u006e": "9.9.9",');
    expect(fieldOf(() => parse(escaped))).toBe("manifest");
    const number = text(example).replace("{", '{"size_bytes": 1,');
    expect(fieldOf(() => parse(number))).toBe("manifest");
  });

  it.each(["", "[]", "null", "7", "{", "\uFEFF{}", "{} {}"])("refuses %j", (json) => {
    expect(() => parse(json)).toThrow(expect.objectContaining({ reason: "INVALID_MANIFEST" }));
  });

  it("refuses what is not UTF-8, and what is too large before it reads it", () => {
    expect(fieldOf(() => parseManifest(Uint8Array.of(0x7b, 0xff, 0x7d)))).toBe("manifest");
    const padded = createManifest(example);
    const large = new Uint8Array(maxManifestBytes + 1).fill(0x20);
    large.set(padded);
    expect(fieldOf(() => parseManifest(large))).toBe("manifest");
    expect(parseManifest(large.subarray(0, maxManifestBytes))).toEqual(example);
  });

  it("answers any bytes with a manifest or INVALID_MANIFEST", () => {
    const almost = fc.tuple(fc.nat(), fc.string({ maxLength: 3 })).map(([at, insert]) => {
      const whole = text(example);
      const position = at % whole.length;
      return new TextEncoder().encode(whole.slice(0, position) + insert + whole.slice(position + 1));
    });
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 300 }), almost), (bytes) => {
        expect(outcomeOf(() => parseManifest(bytes))).toMatch(/^(read|INVALID_MANIFEST)$/);
      }),
    );
  });
});

describe("isCanonicalVersion", () => {
  it.each(["0.0.1", "1.0.0-alpha.1", "10.20.30-x-y-z.4"])("accepts %s", (version) => {
    expect(isCanonicalVersion(version)).toBe(true);
  });

  it.each([
    "1",
    "1.2",
    "v1.2.3",
    "=1.2.3",
    " 1.2.3",
    "01.2.3",
    "1.2.3-01",
    "1.2.3+a",
    "1.2.x",
    `1.2.3-${"a".repeat(130)}`,
  ])("refuses %s", (version) => {
    expect(isCanonicalVersion(version)).toBe(false);
  });
});

function anyManifest(): fc.Arbitrary<Manifest> {
  const name = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/);
  const target = fc.stringMatching(/^[!#-[\]-~]( {0,2}[!#-[\]-~äß温]){0,40}$/);
  const part = fc.nat({ max: 100_000 });
  const prerelease = fc.constantFrom("", "-rc.1", "-alpha", "-0.3.7");
  const version = fc.tuple(part, part, part, prerelease).map(([a, b, c, tail]) => `${a}.${b}.${c}${tail}`);
  const time = fc.date({
    min: new Date("2000-01-01T00:00:00Z"),
    max: new Date("2100-01-01T00:00:00Z"),
    noInvalidDate: true,
  });
  return fc.record({
    product: name,
    version,
    securityCounter: fc.nat({ max: 2 ** 31 - 1 }),
    securityFix: fc.boolean(),
    sha256: fc.stringMatching(/^[0-9a-f]{64}$/),
    sizeBytes: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
    deviceTypes: fc.uniqueArray(target, { minLength: 1, maxLength: 5 }),
    hardwareModels: fc.uniqueArray(target, { maxLength: 5 }),
    minCurrentVersion: fc.oneof(fc.constant(""), version),
    downgradeFrom: fc.option(version, { nil: undefined }),
    attachments: fc.option(
      fc.array(
        fc.record({
          kind: fc.constantFrom(...attachmentKinds),
          sha256: fc.constant("cd".repeat(32)),
          sizeBytes: fc.integer({ min: 1, max: 2 ** 40 }),
        }),
        { minLength: 1, maxLength: 16 },
      ),
      { nil: undefined },
    ),
    created: time,
    expires: fc.option(time, { nil: undefined }),
  });
}

describe("the manifest of an application", () => {
  const application: Manifest = { ...example, component: "navigator" };

  it("says so, and that of firmware says nothing of it", () => {
    expect(JSON.parse(text(application))).toMatchObject({ kind: "application", component: "navigator" });
    expect(parse(text(application))).toEqual(application);
    expect(Object.keys(JSON.parse(text(example)))).not.toContain("component");
    expect(text({ ...example, component: "" })).toBe(text(example));
  });

  it.each([
    ["kind", '"kind": "application"', '"kind": "firmware"'],
    ["kind", '  "kind": "application",\n', ""],
    ["component", '  "component": "navigator",\n', ""],
    ["component", '"component": "navigator"', '"component": ""'],
  ])("is refused for its %s where it says %s and should not", (field, from, to) => {
    expect(fieldOf(() => parse(text(application).replace(from, to)))).toBe(field);
  });
});
