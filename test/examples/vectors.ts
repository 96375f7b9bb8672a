import { execFile } from "node:child_process";
import { generateKeyPairSync, sign } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { examples } from "./example-device.ts";
import type { DeviceExample } from "./toolchains.ts";

/** A manifest with a signature, and whether a device believes it. */
interface VectorCase {
  readonly what: string;
  readonly valid: boolean;
  readonly manifest: Uint8Array;
  readonly signature: Uint8Array;
}

/** Cases whose signatures are to be checked with the same key. */
export interface VectorsOfKey {
  readonly publicKeyPem: string;
  readonly cases: readonly VectorCase[];
}

/** The manifests of docs/vectors, each rightly signed: only their form is in question. */
export async function manifestVectors(): Promise<VectorsOfKey> {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  const { manifests } = await vectors<{ manifests: { what: string; valid: boolean; base64: string }[] }>(
    "manifests.json",
  );
  return {
    publicKeyPem: publicKey.export({ format: "pem", type: "spki" }).toString(),
    cases: manifests.map(({ what, valid, base64 }) => {
      const manifest = Buffer.from(base64, "base64");
      return { what, valid, manifest, signature: sign(null, manifest, privateKey) };
    }),
  };
}

/** The signatures of docs/vectors, by their keys: over one manifest that is right. */
export async function signatureVectors(): Promise<readonly VectorsOfKey[]> {
  const { manifest, keys } = await vectors<{
    manifest: string;
    keys: { publicKeyPem: string; signatures: { what: string; valid: boolean; base64: string }[] }[];
  }>("signatures.json");
  return keys.map(({ publicKeyPem, signatures }) => ({
    publicKeyPem,
    cases: signatures.map(({ what, valid, base64 }) => ({
      what,
      valid,
      manifest: Buffer.from(manifest, "base64"),
      signature: Buffer.from(base64, "base64"),
    })),
  }));
}

/** What an example says of each case. */
export async function verdicts(
  { program }: DeviceExample,
  built: string,
  { publicKeyPem, cases }: VectorsOfKey,
): Promise<readonly { what: string; verdict: string }[]> {
  const folder = await mkdtemp(join(tmpdir(), "device-ota-verdicts-"));
  try {
    const trusted = join(folder, "trusted.pem");
    await writeFile(trusted, publicKeyPem);
    const files: string[] = [];
    for (const [index, { manifest, signature }] of cases.entries())
      for (const [kind, bytes] of Object.entries({ manifest, signature })) {
        const path = join(folder, `${index}.${kind}`);
        await writeFile(path, bytes);
        files.push(path);
      }
    const { stdout } = await promisify(execFile)(
      "sh",
      ["-c", `exec env ${program.verify} "$@"`, "sh", ...files],
      {
        env: { PATH: process.env["PATH"], BUILT: built, TRUSTED_KEY: trusted },
      },
    );
    const lines = stdout.trimEnd().split("\n");
    return cases.map(({ what }, index) => ({ what, verdict: lines[index] ?? "nothing" }));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function vectors<T>(name: string): Promise<T> {
  return JSON.parse(await readFile(join(examples, "../docs/vectors", name), "utf8")) as T;
}
