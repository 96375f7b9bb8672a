import { constants, createPublicKey, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import {
  algorithmOf,
  hasFixedSalt,
  inFixedEncoding,
  type SignatureAlgorithm,
  thumbprint,
  verifySignature,
} from "../../src/manifest/signature.ts";
import { exampleManifest } from "./manifest-vectors.ts";

/** Signatures over one manifest, by a key of each kind. */
export interface SignatureVectors {
  readonly about: string;
  /** The exact bytes that are signed, in base64. */
  readonly manifest: string;
  readonly keys: readonly KeyVectors[];
}

/** What one key signed. Its private half was thrown away. */
interface KeyVectors {
  readonly algorithm: SignatureAlgorithm;
  /** RFC 7638 thumbprint. */
  readonly keyId: string;
  readonly publicKeyPem: string;
  readonly signatures: readonly SignatureVector[];
}

interface SignatureVector {
  readonly what: string;
  readonly base64: string;
  /** Whether it is right, in the one encoding that devices get. */
  readonly valid: boolean;
  /** Of an ECDSA signature that only the service takes: as devices get it. */
  readonly handedOn?: string;
}

/**
 * The vectors that there are already, if they still hold for the example's manifest; else new ones by new keys: ECDSA and RSA-PSS
 * never give the same signature twice.
 */
export function signatureVectors(former: SignatureVectors | undefined): SignatureVectors {
  const manifest = Buffer.from(exampleManifest).toString("base64");
  if (former !== undefined && former.manifest === manifest && former.keys.every(holds)) return former;
  return {
    about:
      "Signatures over the manifest, by a key of each kind, in base64, and whether they are right in the one encoding that devices get. The service takes one with handedOn too, and gives devices that.",
    manifest,
    keys: [ed25519(), ecdsa(), rsaPss()],
  };
}

function holds({ publicKeyPem, signatures }: KeyVectors): boolean {
  return signatures.every(({ base64, valid, handedOn }) => {
    const signature = Buffer.from(base64, "base64");
    const right = { publicKeyPem, bytes: exampleManifest, signature };
    return (verifySignature(right) && hasFixedSalt(right)) === (valid || handedOn !== undefined);
  });
}

function ed25519(): KeyVectors {
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  const right = sign(null, exampleManifest, privateKey);
  return vectorsOf(publicKey, [
    { what: "R || S (RFC 8032)", valid: true, signature: right },
    { what: "with a byte after it", valid: false, signature: Buffer.concat([right, Buffer.of(0)]) },
    ...spoiled(right, () => sign(null, otherBytes(), privateKey)),
  ]);
}

function ecdsa(): KeyVectors {
  const { publicKey, privateKey: key } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const right = sign("sha256", exampleManifest, key);
  const raw = sign("sha256", exampleManifest, { key, dsaEncoding: "ieee-p1363" });
  const { keyId, ...vectors } = vectorsOf(publicKey, [
    { what: "DER", valid: true, signature: right },
    { what: "DER with a byte after it", valid: false, signature: Buffer.concat([right, Buffer.of(0)]) },
    ...spoiled(right, () => sign("sha256", otherBytes(), key)),
  ]);
  const handedOn = Buffer.from(inFixedEncoding("ecdsa-p256-sha256", raw)).toString("base64");
  const rawVector = { what: "r || s", base64: raw.toString("base64"), valid: false, handedOn };
  return { ...vectors, keyId, signatures: [...vectors.signatures, rawVector] };
}

function rsaPss(): KeyVectors {
  const { publicKey, privateKey } = generateKeyPairSync("rsa", { modulusLength: 3072 });
  const pss = (bytes: Uint8Array, saltLength: number) =>
    sign("sha256", bytes, { key: privateKey, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength });
  const right = pss(exampleManifest, 32);
  return vectorsOf(publicKey, [
    { what: "with a salt of 32 bytes", valid: true, signature: right },
    { what: "without a salt", valid: false, signature: pss(exampleManifest, 0) },
    {
      what: "with the longest salt",
      valid: false,
      signature: pss(exampleManifest, constants.RSA_PSS_SALTLEN_MAX_SIGN),
    },
    {
      what: "with the padding of PKCS #1 v1.5",
      valid: false,
      signature: sign("sha256", exampleManifest, privateKey),
    },
    ...spoiled(right, () => pss(otherBytes(), 32)),
  ]);
}

function spoiled(right: Buffer, ofOthers: () => Buffer): { what: string; valid: false; signature: Buffer }[] {
  const flipped = Buffer.from(right);
  flipped[flipped.length - 1] = (flipped.at(-1) ?? 0) ^ 1;
  return [
    { what: "with one bit changed", valid: false, signature: flipped },
    { what: "over other bytes", valid: false, signature: ofOthers() },
  ];
}

/** The manifest as another writer would put it: the same JSON, and not the same bytes. */
function otherBytes(): Uint8Array {
  return Buffer.from(JSON.stringify(JSON.parse(new TextDecoder().decode(exampleManifest))));
}

function vectorsOf(
  publicKey: KeyObject,
  signatures: readonly { readonly what: string; readonly valid: boolean; readonly signature: Buffer }[],
): KeyVectors {
  const publicKeyPem = createPublicKey(publicKey.export({ type: "spki", format: "pem" }))
    .export({ type: "spki", format: "pem" })
    .toString();
  return {
    algorithm: algorithmOf(publicKeyPem),
    keyId: thumbprint(publicKeyPem),
    publicKeyPem,
    signatures: signatures.map(({ what, valid, signature }) => ({
      what,
      base64: signature.toString("base64"),
      valid,
    })),
  };
}
