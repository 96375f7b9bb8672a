import { createHash } from "node:crypto";
import { createManifest, type Manifest } from "../../src/manifest/manifest.ts";

/** A manifest, and whether a device may read it. */
interface ManifestVector {
  readonly what: string;
  /** The exact bytes. */
  readonly base64: string;
  /** Whether the format allows it. */
  readonly valid: boolean;
  /** Of one that it refuses, the member that is wrong; `manifest` for the whole. */
  readonly member?: string;
}

/** The content that the manifests of the vectors are of: three bytes. */
const content = Buffer.from("abc");

/** The example that all vectors begin from. */
const example: Manifest = {
  product: "thermostat-os",
  version: "1.4.0-rc.1",
  securityCounter: 3,
  securityFix: true,
  sha256: createHash("sha256").update(content).digest("hex"),
  sizeBytes: content.length,
  deviceTypes: ["thermostat"],
  hardwareModels: ["t100", "t200"],
  minCurrentVersion: "1.2.0",
  created: new Date("2026-03-01T10:00:00.000Z"),
  expires: new Date("2027-03-01T10:00:00.000Z"),
};

/** The example as it is signed. */
export const exampleManifest: Uint8Array = createManifest(example);

/** What a device reads of the example, and what it refuses and why. */
export function manifestVectors(): { about: string; content: string; manifests: ManifestVector[] } {
  return {
    about:
      "Manifests as they are signed, in base64, and whether a device may read them; of those that it refuses, the member that is wrong. The content that they are of is in base64 too.",
    content: content.toString("base64"),
    manifests: [...readable(), ...refused()],
  };
}

function readable(): ManifestVector[] {
  const application = { ...example, component: "nav", minCurrentVersion: "" };
  const bare = { ...example, hardwareModels: [], expires: undefined, securityFix: false, securityCounter: 0 };
  return [
    valid("firmware with every member", exampleManifest),
    valid("an application", createManifest(application)),
    valid("no models, no oldest version, no expiry", createManifest({ ...bare, minCurrentVersion: "" })),
    valid(
      "a version that devices of 1.5.0 may go back to",
      createManifest({ ...example, downgradeFrom: "1.5.0" }),
    ),
    valid("other blanks and another order of members", reordered()),
    valid(
      "an info_ member that the device does not know",
      changed('"created"', '"info_colour": {"is": ["red", 1]},\n  "created"'),
    ),
    valid("letters beyond ASCII in a device type", changed('["thermostat"]', '["Thermostat für Räume"]')),
  ];
}

function refused(): ManifestVector[] {
  const sha256 = example.sha256;
  return [
    wrong("another type tag", "type", changed("ota.v1.firmware-manifest", "ota.v2.firmware-manifest")),
    wrong("a member is missing", "security_counter", changed('  "security_counter": 3,\n', "")),
    wrong(
      "a member that is not known",
      "max_temperature",
      changed('"created"', '"max_temperature": 40,\n  "created"'),
    ),
    wrong("a member twice", "manifest", changed('"created"', '"product": "thermostat-os",\n  "created"')),
    wrong("an escape sequence", "manifest", changed("thermostat-os", "thermostat\\u002dos")),
    wrong("a number as text", "size_bytes", changed('"size_bytes": 3', '"size_bytes": "3"')),
    wrong("a number with a fraction", "size_bytes", changed('"size_bytes": 3', '"size_bytes": 3.5')),
    wrong("no content", "size_bytes", changed('"size_bytes": 3', '"size_bytes": 0')),
    wrong("a size of 2^53", "size_bytes", changed('"size_bytes": 3', '"size_bytes": 9007199254740992')),
    wrong(
      "a counter of 2^31",
      "security_counter",
      changed('"security_counter": 3', '"security_counter": 2147483648'),
    ),
    wrong("a digest in upper case", "sha256", changed(sha256, sha256.toUpperCase())),
    wrong("a version with build metadata", "version", changed("1.4.0-rc.1", "1.4.0+7")),
    wrong("a version with a v", "version", changed("1.4.0-rc.1", "v1.4.0")),
    wrong("for no device type", "device_types", changed('["thermostat"]', "[]")),
    wrong("a device type twice", "device_types", changed('["thermostat"]', '["thermostat", "thermostat"]')),
    wrong("no expiry, but not as null", "expires", changed('"2027-03-01T10:00:00.000Z"', '""')),
    wrong("a day that there is not", "expires", changed("2027-03-01T", "2027-02-30T")),
    wrong("a time with a zone", "created", changed("2026-03-01T10:00:00.000Z", "2026-03-01T10:00:00+01:00")),
    wrong("a component without a kind", "kind", changed('"created"', '"component": "nav",\n  "created"')),
    wrong(
      "an empty downgrade_from",
      "downgrade_from",
      changed('"created"', '"downgrade_from": "",\n  "created"'),
    ),
    wrong("a byte order mark", "manifest", Buffer.concat([Buffer.from("\ufeff"), exampleManifest])),
    wrong("something after it", "manifest", Buffer.concat([exampleManifest, Buffer.from("{}")])),
    wrong("no object", "manifest", Buffer.from("[]\n")),
    wrong("not UTF-8", "manifest", Buffer.concat([exampleManifest, Buffer.from([0xff])])),
  ];
}

/** The example's text with one part replaced. */
function changed(part: string, by: string): Uint8Array {
  const text = new TextDecoder().decode(exampleManifest);
  if (!text.includes(part)) throw new Error(`the example has no ${part}`);
  return Buffer.from(text.replace(part, by));
}

function reordered(): Uint8Array {
  const members = Object.entries(JSON.parse(new TextDecoder().decode(exampleManifest)) as object);
  return Buffer.from(JSON.stringify(Object.fromEntries(members.toReversed())));
}

function valid(what: string, bytes: Uint8Array): ManifestVector {
  return { what, valid: true, base64: Buffer.from(bytes).toString("base64") };
}

function wrong(what: string, member: string, bytes: Uint8Array): ManifestVector {
  return { what, valid: false, member, base64: Buffer.from(bytes).toString("base64") };
}
