import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { create } from "@bufbuild/protobuf";
import { crc32c } from "@node-rs/crc32";
import { describe, expect, it } from "vitest";
import { HeartbeatSchema } from "../../gen/ota/v1/heartbeat_pb.js";
import { HeartbeatBacklog } from "../../src/agent/heartbeat-backlog.ts";
import { OtaError } from "../../src/errors.ts";
import { parseManifest } from "../../src/manifest/manifest.ts";
import {
  algorithmOf,
  hasFixedSalt,
  inFixedEncoding,
  thumbprint,
  verifySignature,
} from "../../src/manifest/signature.ts";
import { deviceHashes, placeOf, sampleOf } from "../../src/rollout/model/bucket.ts";

/* The files of docs/vectors, which are for whoever writes a device, held against what the service and the agent do. */

const folder = join(import.meta.dirname, "../../docs/vectors");

async function vectors<T>(name: string): Promise<T> {
  return JSON.parse(await readFile(join(folder, name), "utf8")) as T;
}

const bytesOf = (base64: string): Uint8Array => Buffer.from(base64, "base64");

it("the files are what their script writes", async () => {
  const fresh = await mkdtemp(join(tmpdir(), "device-ota-vectors-"));
  try {
    const script = join(import.meta.dirname, "../../scripts/vectors/write.ts");
    await promisify(execFile)(process.execPath, [script, fresh]);
    const names = (await readdir(folder)).filter((name) => name.endsWith(".json"));
    expect(await readdir(fresh)).toEqual(names);
    for (const name of names)
      expect(await readFile(join(fresh, name), "utf8"), name).toBe(
        await readFile(join(folder, name), "utf8"),
      );
  } finally {
    await rm(fresh, { recursive: true, force: true });
  }
});

describe("manifests.json", async () => {
  const { manifests } = await vectors<{
    manifests: { what: string; base64: string; valid: boolean; member?: string }[];
  }>("manifests.json");

  it.each(manifests)("$what", ({ base64, valid, member }) => {
    expect(outcomeOf(base64)).toBe(valid ? "read" : member);
  });

  function outcomeOf(base64: string): string | undefined {
    try {
      parseManifest(bytesOf(base64));
      return "read";
    } catch (error) {
      if (error instanceof OtaError && error.reason === "INVALID_MANIFEST") return error.metadata["field"];
      throw error;
    }
  }
});

describe("signatures.json", async () => {
  const { manifest, keys } = await vectors<{
    manifest: string;
    keys: {
      algorithm: string;
      keyId: string;
      publicKeyPem: string;
      signatures: { what: string; base64: string; valid: boolean; handedOn?: string }[];
    }[];
  }>("signatures.json");

  it("has each kind of key, with its id", () => {
    expect(keys.map(({ publicKeyPem }) => algorithmOf(publicKeyPem))).toEqual([
      "ed25519",
      "ecdsa-p256-sha256",
      "rsa-pss-sha256",
    ]);
    for (const { algorithm, keyId, publicKeyPem } of keys) {
      expect(algorithmOf(publicKeyPem)).toBe(algorithm);
      expect(thumbprint(publicKeyPem)).toBe(keyId);
    }
  });

  it.each(keys.flatMap(({ signatures, ...key }) => signatures.map((each) => ({ ...key, ...each }))))(
    "$algorithm, $what",
    ({ publicKeyPem, base64, valid, handedOn }) => {
      const bytes = bytesOf(manifest);
      const given = { publicKeyPem, bytes, signature: bytesOf(base64) };
      expect(verifySignature(given) && hasFixedSalt(given)).toBe(valid || handedOn !== undefined);
      const handed = inFixedEncoding(algorithmOf(publicKeyPem), given.signature);
      expect(Buffer.from(handed).toString("base64")).toBe(handedOn ?? base64);
      expect(verifySignature({ publicKeyPem, bytes, signature: handed })).toBe(verifySignature(given));
    },
  );
});

describe("rings.json", async () => {
  const { places } = await vectors<{
    places: { salt: string; deviceId: string; hash: number; bucket: number; place: number; sample: number }[];
  }>("rings.json");

  it.each(places)("$salt:$deviceId", ({ salt, deviceId, hash, bucket, place, sample }) => {
    const id = Buffer.from(deviceId.replaceAll("-", ""), "hex");
    expect(deviceHashes(salt)(id, 0)).toBe(hash);
    expect(hash % 10_000).toBe(bucket);
    expect(placeOf(salt, deviceId)).toBe(place);
    expect(sampleOf(salt, deviceId)).toBe(sample);
  });
});

describe("crc32c.json", async () => {
  const { checksums } = await vectors<{ checksums: { data: string; crc32c: number }[] }>("crc32c.json");

  it.each(checksums)("of $data", ({ data, crc32c: expected }) => {
    expect(crc32c(Buffer.from(data, "hex"))).toBe(expected);
  });
});

describe("acks.json", async () => {
  const { cases } = await vectors<{
    cases: { what: string; backlog: number[]; acks: { ackedThrough: number }[]; keeps: number[] }[];
  }>("acks.json");

  it.each(cases)("$what", ({ backlog: sequences, acks, keeps }) => {
    const backlog = new HeartbeatBacklog(1000);
    for (const sequence of sequences)
      backlog.push(create(HeartbeatSchema, { sequence: BigInt(sequence), firmwareVersion: "1.0.0" }));
    for (const { ackedThrough } of acks) backlog.acknowledge(BigInt(ackedThrough));
    const kept = backlog.after(0n, 1000, 1_000_000).map(({ sequence }) => Number(sequence));
    expect(kept).toEqual(keeps);
  });
});
