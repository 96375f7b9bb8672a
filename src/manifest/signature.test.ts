import { spawnSync } from "node:child_process";
import { constants, createPublicKey, generateKeyPairSync, type KeyObject, sign, verify } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import {
  algorithmOf,
  generateSigningKey,
  hasFixedSalt,
  inFixedEncoding,
  publicKeyOf,
  signManifest,
  thumbprint,
  verifySignature,
} from "./signature.ts";

const inPem = (pair: { privateKey: KeyObject; publicKey: KeyObject }) => ({
  privateKey: pair.privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
  publicKey: pair.publicKey.export({ type: "spki", format: "pem" }).toString(),
});
const bytes = new TextEncoder().encode('{"type": "ota.v1.firmware-manifest"}\n');
const keys = {
  ed25519: inPem(generateKeyPairSync("ed25519")),
  "ecdsa-p256-sha256": inPem(generateKeyPairSync("ec", { namedCurve: "P-256" })),
  "rsa-pss-sha256": inPem(generateKeyPairSync("rsa", { modulusLength: 2048 })),
} as const;

describe.each(Object.entries(keys))("%s", (algorithm, { privateKey, publicKey: publicKeyPem }) => {
  const signature = signManifest(privateKey, bytes);

  it("is recognised, and its public half is derived", () => {
    expect(algorithmOf(publicKeyPem)).toBe(algorithm);
    expect(publicKeyOf(privateKey)).toBe(publicKeyPem);
  });

  it("verifies its signature over the exact bytes only", () => {
    expect(verifySignature({ publicKeyPem, bytes, signature })).toBe(true);
    expect(verifySignature({ publicKeyPem, bytes: bytes.subarray(1), signature })).toBe(false);
    const flipped = Uint8Array.from(bytes);
    flipped[5] = (flipped[5] ?? 0) ^ 1;
    expect(verifySignature({ publicKeyPem, bytes: flipped, signature })).toBe(false);
  });

  it("takes a malformed signature as a wrong one", () => {
    for (const length of [0, 1, 63, 64, 65, 70, 256, 1024]) {
      expect(verifySignature({ publicKeyPem, bytes, signature: new Uint8Array(length).fill(0x30) })).toBe(
        false,
      );
    }
    expect(verifySignature({ publicKeyPem, bytes, signature: signature.subarray(1) })).toBe(false);
  });

  it("refuses bytes before or after the signature, or its end cut off", () => {
    const zero = Uint8Array.of(0);
    for (const wrong of [
      Buffer.concat([signature, zero]),
      Buffer.concat([zero, signature]),
      signature.subarray(0, -1),
    ])
      expect(verifySignature({ publicKeyPem, bytes, signature: wrong })).toBe(false);
  });
});

describe("verifySignature", () => {
  it("accepts ECDSA signatures as raw r || s", () => {
    const { privateKey: key, publicKey: publicKeyPem } = keys["ecdsa-p256-sha256"];
    const signature = sign("sha256", bytes, { key, dsaEncoding: "ieee-p1363" });
    expect(signature).toHaveLength(64);
    expect(verifySignature({ publicKeyPem, bytes, signature })).toBe(true);
  });

  // OpenSSL takes the number for the same with or without its leading zero byte, which one RSA signature in 256 has.
  it("refuses an RSA signature whose leading zero byte was cut off", () => {
    const publicKeyPem = `-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAjrZyopqhdfxc/YJu5MW5
umu60+YeY5hrD2pkTFEuwKOHYNsqwT3aD5sXScHGO0k5BXdU9Ak4XS9pBR8MJF9r
eTPIXW1AUPGEM3tQsq1+XpfWzZiCsYF4xyhQDSi2HfjXis0cYqe7f4CHXIfWKlb/
z+A8q/lkhGKVF3pWtZqSELzUJd8vZZn00jR0p9rLRyw3N6VV1Z0hILe/hos15jdn
2eW8Sbtab5yc2pKqRQwmCYn4CJB4X4UGS8Wyj3Iw0RAp+wV+UT3pN4miiyqKy3ud
hGfrdVt+9eBfyViv1wLQn1Stws+mvCYilTy0e/y8vlQ7v/qtXby6nNTGcz7WhKqw
8QIDAQAB
-----END PUBLIC KEY-----
`;
    const signature = Buffer.from(
      "AIzwMJp_8YEbD3ZIGpcbtuqIKzWBBWyTBv6MSrGmXGaTWCHrbFMjyU8lJ-dgbojBSXEDpYmJXHetIdXQHJzxQmgSnQdqKJQ8OEtTKFYF9iFPvhK6HDi6" +
        "lse-Hh7HyYw0I0YdhVMdKC8-swT6fH_sTBjzwPKW_ImNsZRoVnklWTBnTto6MPR82NbxRDzZA696XgCitIxhdq81xaEsNl8Bj6FvdfufE0MVwF0RTvTvhg-" +
        "cplNWEYo_2WC-ckG0ZQtY8aRfTAphZ1iphG43pgama9qoZytt-j_4kSKNrd-jaLjcIibCNs-fEM7qQxURQ96WSTQsIVeWI8-DGwj6JoF6Hw",
      "base64url",
    );
    const signed = new TextEncoder().encode("message 246");
    expect(signature[0]).toBe(0);
    expect(verifySignature({ publicKeyPem, bytes: signed, signature })).toBe(true);
    expect(verifySignature({ publicKeyPem, bytes: signed, signature: signature.subarray(1) })).toBe(false);
  });

  it("refuses ECDSA signatures in any encoding but DER and 64 raw bytes", () => {
    const { privateKey: key, publicKey: publicKeyPem } = keys["ecdsa-p256-sha256"];
    const der = Buffer.from(sign("sha256", bytes, key));
    const [, length = 0, , lengthOfR = 0] = der;
    const raw = sign("sha256", bytes, { key, dsaEncoding: "ieee-p1363" });
    const zero = Buffer.of(0);
    const encodings = {
      "a length in the long form": Buffer.concat([Buffer.of(0x30, 0x81, length), der.subarray(2)]),
      "a needless zero byte in r": Buffer.concat([
        Buffer.of(0x30, length + 1, 2, lengthOfR + 1, 0),
        der.subarray(4),
      ]),
      "raw numbers of 33 bytes": Buffer.concat([zero, raw.subarray(0, 32), zero, raw.subarray(32)]),
    };
    expect(verifySignature({ publicKeyPem, bytes, signature: der })).toBe(true);
    for (const [what, signature] of Object.entries(encodings))
      expect(verifySignature({ publicKeyPem, bytes, signature }), what).toBe(false);
  });

  it("refuses RSA signatures with the older padding", () => {
    const { privateKey, publicKey: publicKeyPem } = keys["rsa-pss-sha256"];
    expect(verifySignature({ publicKeyPem, bytes, signature: sign("sha256", bytes, privateKey) })).toBe(
      false,
    );
  });
});

describe("hasFixedSalt", () => {
  it.each([
    [32, true],
    [0, false],
    [20, false],
    [constants.RSA_PSS_SALTLEN_MAX_SIGN, false],
  ])("of an RSA signature with a salt of %i bytes", (saltLength, fixed) => {
    const { privateKey: key, publicKey: publicKeyPem } = keys["rsa-pss-sha256"];
    const signature = sign("sha256", bytes, { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength });
    expect(verifySignature({ publicKeyPem, bytes, signature })).toBe(true);
    expect(hasFixedSalt({ publicKeyPem, bytes, signature })).toBe(fixed);
  });
});

describe("inFixedEncoding", () => {
  const { privateKey: key, publicKey: publicKeyPem } = keys["ecdsa-p256-sha256"];

  it("gives raw ECDSA signatures in DER, which verifies as such, whatever their leading bytes", () => {
    for (let round = 0; round < 300; round++) {
      const raw = sign("sha256", bytes, { key, dsaEncoding: "ieee-p1363" });
      const signature = inFixedEncoding("ecdsa-p256-sha256", raw);
      expect(verify("sha256", bytes, { key: publicKeyPem, dsaEncoding: "der" }, signature)).toBe(true);
    }
  });

  it("writes numbers without leading zeros, but where they would be negative", () => {
    const raw = new Uint8Array(64);
    raw[31] = 0x7f;
    raw[63] = 0x80;
    expect(Buffer.from(inFixedEncoding("ecdsa-p256-sha256", raw)).toString("hex")).toBe("300702017f02020080");
  });

  it("leaves all others as they are, and DER of 64 bytes too", () => {
    const der = sign("sha256", bytes, key);
    expect(inFixedEncoding("ecdsa-p256-sha256", der)).toBe(der);
    const short = Buffer.concat([
      Buffer.of(0x30, 62, 2, 29),
      Buffer.alloc(29, 1),
      Buffer.of(2, 29),
      Buffer.alloc(29, 1),
    ]);
    expect(short).toHaveLength(64);
    expect(inFixedEncoding("ecdsa-p256-sha256", short)).toBe(short);
    expect(inFixedEncoding("ed25519", new Uint8Array(64))).toEqual(new Uint8Array(64));
  });
});

describe("algorithmOf", () => {
  it.each([
    ["a private key", keys.ed25519.privateKey],
    ["another curve", inPem(generateKeyPairSync("ec", { namedCurve: "P-384" })).publicKey],
    ["a key for agreement", inPem(generateKeyPairSync("x25519")).publicKey],
    ["a short RSA key", inPem(generateKeyPairSync("rsa", { modulusLength: 1024 })).publicKey],
    ["a broken key", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"],
    ["nothing", ""],
    ["a huge text", `-----BEGIN PUBLIC KEY-----\n${"A".repeat(1_000_000)}`],
  ])("refuses %s", (_, pem) => {
    expect(() => algorithmOf(pem)).toThrow(
      expect.objectContaining({ code: "invalid_argument", metadata: { field: "public_key_pem" } }),
    );
  });
});

describe("thumbprint", () => {
  it("is that of RFC 8037, appendix A.3", () => {
    const publicKeyPem = `-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=
-----END PUBLIC KEY-----
`;
    expect(thumbprint(publicKeyPem)).toBe("kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
  });

  it("does not depend on how the PEM is laid out", () => {
    const { publicKeyPem, keyId } = generateSigningKey();
    expect(thumbprint(publicKeyPem.replaceAll("\n", "\r\n"))).toBe(keyId);
  });

  it("is that of RFC 7638, section 3.1, for an RSA key", () => {
    const n =
      "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMs" +
      "tn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbI" +
      "SD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
    const pem = createPublicKey({ key: { kty: "RSA", n, e: "AQAB" }, format: "jwk" })
      .export({ type: "spki", format: "pem" })
      .toString();
    expect(thumbprint(pem)).toBe("NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
  });
});

describe.skipIf(spawnSync("openssl", ["version"]).status !== 0)("with openssl", () => {
  const openssl = (folder: string, ...args: string[]): void => {
    const result = spawnSync("openssl", args, { cwd: folder, encoding: "utf8" });
    expect(result.stderr + result.stdout, args.join(" ")).not.toMatch(/error/i);
    expect(result.status).toBe(0);
  };
  const makeFolder = (): string => {
    const folder = mkdtempSync(join(tmpdir(), "signature-test-"));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    writeFileSync(join(folder, "manifest.json"), bytes);
    return folder;
  };

  it.each([
    ["ed25519", ["-algorithm", "ED25519"], []],
    ["ecdsa-p256-sha256", ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"], ["-digest", "sha256"]],
    [
      "rsa-pss-sha256",
      ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
      ["-digest", "sha256", "-pkeyopt", "rsa_padding_mode:pss"],
    ],
  ])("verifies what `openssl pkeyutl -sign -rawin` signed with %s", (algorithm, keyOptions, signOptions) => {
    const folder = makeFolder();
    openssl(folder, "genpkey", ...keyOptions, "-out", "key.pem");
    openssl(folder, "pkey", "-in", "key.pem", "-pubout", "-out", "public.pem");
    openssl(
      folder,
      "pkeyutl",
      "-sign",
      "-rawin",
      "-inkey",
      "key.pem",
      "-in",
      "manifest.json",
      "-out",
      "sig",
      ...signOptions,
    );
    const publicKeyPem = readFileSync(join(folder, "public.pem"), "utf8");
    const signature = readFileSync(join(folder, "sig"));
    expect(algorithmOf(publicKeyPem)).toBe(algorithm);
    expect(verifySignature({ publicKeyPem, bytes, signature })).toBe(true);
    expect(publicKeyOf(readFileSync(join(folder, "key.pem"), "utf8"))).toBe(publicKeyPem);
  });

  it("signs what openssl verifies", () => {
    const folder = makeFolder();
    const { privateKeyPem, publicKeyPem } = generateSigningKey();
    writeFileSync(join(folder, "public.pem"), publicKeyPem);
    writeFileSync(join(folder, "sig"), signManifest(privateKeyPem, bytes));
    const command = "pkeyutl -verify -rawin -pubin -inkey public.pem -in manifest.json -sigfile sig";
    const result = spawnSync("openssl", command.split(" "), { cwd: folder, encoding: "utf8" });
    expect(result.stdout).toContain("Verified Successfully");
  });
});
