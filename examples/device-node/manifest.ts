// What the device library believes, for an updater of one's own: `node manifest.ts MANIFEST SIGNATURE…` says of files, two by two, whether the
// key in TRUSTED_KEY makes them believed.

import { readFileSync } from "node:fs";
import { OtaError, trustIn, verifyManifest } from "device-ota-client/agent";

const { keys: trustedKeys } = trustIn([readFileSync(process.env["TRUSTED_KEY"] ?? "", "utf8")]);
const [keyId = ""] = trustedKeys.keys();

const files = process.argv.slice(2).map((file) => readFileSync(file));
while (files.length >= 2) {
  const [manifest, signature] = files.splice(0, 2) as [Buffer, Buffer];
  try {
    verifyManifest({
      manifest,
      signatures: [{ keyId, signature }],
      trustedKeys,
      required: { total: 1 },
      now: new Date(),
    });
    process.stdout.write("believed\n");
  } catch (error) {
    if (!(error instanceof OtaError)) throw error;
    process.stdout.write(`${error.reason}\n`);
  }
}
