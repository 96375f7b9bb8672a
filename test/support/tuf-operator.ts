import { canonicalize } from "@tufjs/canonical-json";
import { TufService } from "../../gen/ota/v1/tuf_service_pb.js";
import { generateSigningKey, type SigningKeyPair, signManifest } from "../../src/manifest/signature.ts";
import { tufKeyOf } from "../../src/tuf/tuf-key.ts";
import { makeRoot, type RootContent } from "../../src/tuf/tuf-making.ts";
import { readTargets } from "../../src/tuf/tuf-metadata.ts";
import { bytes } from "./door-clients.ts";
import type { TestService } from "./service.ts";

const { method } = TufService;

/** Somebody who holds the keys of a product's TUF metadata, on paper a machine without a network. */
export class TufOperator {
  readonly product: string;
  readonly rootKeys = [generateSigningKey(), generateSigningKey()];
  readonly targetsKey = generateSigningKey();
  /** As published last. */
  root = new Uint8Array();
  #service: Pick<TestService, "client">;

  constructor(service: Pick<TestService, "client">, product: string) {
    this.#service = service;
    this.product = product;
  }

  get client() {
    return this.#service.client();
  }

  /** Everything that a first day takes: the service's key, root by two of two keys, targets with what is released. */
  async firstDay(): Promise<this> {
    await this.publishRoot(await this.makeRoot(1));
    await this.release();
    return this;
  }

  /** The service's key that no root names yet. */
  async onlineKey(): Promise<string> {
    const { publicKeyPem } = await this.client.unary(method.createTufOnlineKey, { product: this.product });
    return publicKeyPem;
  }

  /** A root with both root keys, unless its content is another. Without signatures. */
  async makeRoot(version: number, content: Partial<RootContent> = {}): Promise<Uint8Array> {
    return makeRoot({
      version,
      expiresAt: inDays(365),
      root: { publicKeyPems: this.rootKeys.map(({ publicKeyPem }) => publicKeyPem), threshold: 2 },
      targets: { publicKeyPems: [this.targetsKey.publicKeyPem], threshold: 1 },
      online: content.online ?? { publicKeyPems: [await this.onlineKey()], threshold: 1 },
      ...content,
    });
  }

  /** Signs with the root keys and publishes. */
  async publishRoot(root: Uint8Array, targets?: Uint8Array): Promise<void> {
    const signed = signedBy(root, ...this.rootKeys);
    const more = targets === undefined ? {} : { targets: bytes(targets) };
    await this.client.unary(method.publishTufRoot, { product: this.product, root: bytes(signed), ...more });
    this.root = bytes(signed);
  }

  /** The next targets metadata, without signatures. */
  async draft(): Promise<Uint8Array> {
    const { targets } = await this.client.unary(method.draftTufTargets, { product: this.product });
    return targets;
  }

  /** Publishes whatever is released, signed with the targets key. */
  async release(): Promise<void> {
    await this.publishTargets(signedBy(await this.draft(), this.targetsKey));
  }

  async publishTargets(targets: Uint8Array): Promise<void> {
    await this.client.unary(method.publishTufTargets, { product: this.product, targets: bytes(targets) });
  }

  /** The newest file as it is served. */
  async file(name: string): Promise<Uint8Array> {
    const { metadata } = await this.client.unary(method.getTufMetadata, {
      product: this.product,
      file: name,
    });
    return metadata;
  }
}

/** The metadata with signatures of these keys, whatever it says. */
export function signedBy(metadata: Uint8Array, ...keys: readonly SigningKeyPair[]): Uint8Array {
  const { signed, signatures } = JSON.parse(Buffer.from(metadata).toString()) as Signed;
  const bytesToSign = Buffer.from(canonicalize(signed));
  for (const { privateKeyPem, publicKeyPem } of keys) {
    const sig = Buffer.from(signManifest(privateKeyPem, bytesToSign)).toString("hex");
    signatures.push({ keyid: tufKeyOf(publicKeyPem).keyID, sig });
  }
  return Buffer.from(JSON.stringify({ signed, signatures }));
}

interface Signed {
  readonly signed: Record<string, unknown>;
  readonly signatures: { readonly keyid: string; readonly sig: string }[];
}

/** The metadata with its signed part changed, and without signatures. */
export function changed(metadata: Uint8Array, change: (signed: Record<string, unknown>) => void): Uint8Array {
  const json = JSON.parse(Buffer.from(metadata).toString()) as Signed;
  change(json.signed);
  return Buffer.from(JSON.stringify({ signed: json.signed, signatures: [] }));
}

/** The targets by their paths. */
export function targetsIn(metadata: Uint8Array) {
  return readTargets(metadata).metadata.signed.targets;
}

export function inDays(days: number): Date {
  return new Date(Date.now() + days * 86_400_000);
}
