// Writes the test vectors of the device protocol into a folder, docs/vectors unless another one is named. What is random in
// signatures stays as it is in the files as long as it holds.
//
// Usage: node scripts/vectors/write.ts [FOLDER]

import { readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { deliveryVectors } from "./delivery-vectors.ts";
import { manifestVectors } from "./manifest-vectors.ts";
import { ringVectors } from "./ring-vectors.ts";
import { type SignatureVectors, signatureVectors } from "./signature-vectors.ts";

const folder = process.argv[2] ?? join(import.meta.dirname, "../../docs/vectors");
const former = join(import.meta.dirname, "../../docs/vectors/signatures.json");

const files = {
  "manifests.json": manifestVectors(),
  "signatures.json": signatureVectors(formerSignatures()),
  "rings.json": ringVectors(),
  ...deliveryVectors(),
};
for (const [name, content] of Object.entries(files)) {
  await writeFile(join(folder, name), `${JSON.stringify(content, undefined, 2)}\n`);
}

function formerSignatures(): SignatureVectors | undefined {
  try {
    return JSON.parse(readFileSync(former, "utf8")) as SignatureVectors;
  } catch {
    return undefined;
  }
}
