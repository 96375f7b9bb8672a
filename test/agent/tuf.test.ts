import { createHash } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { generateSigningKey } from "../../src/manifest/signature.ts";
import {
  makeRoot,
  makeSnapshot,
  makeTargets,
  makeTimestamp,
  type TufTarget,
} from "../../src/tuf/tuf-making.ts";
import { readOffline, withSignature } from "../../src/tuf/tuf-metadata.ts";
import { eventually } from "../support/eventually.ts";
import { offerOf, TestDevice } from "./agent-harness.ts";
import { FixtureService } from "./fixture-service.ts";

/** A device that follows TUF metadata, and a service, taken over or not, that serves it. */

const content = Buffer.from("an image that somebody signed");
const [signer, online] = [generateSigningKey(), generateSigningKey()];
const product = "thermostat";

type Offered = ReturnType<typeof offerOf>;

/** The root on the device: `signer` signs root and targets, the service the rest. */
const root = signed(
  makeRoot({
    version: 1,
    expiresAt: inHours(9_000),
    root: { publicKeyPems: [signer.publicKeyPem], threshold: 1 },
    targets: { publicKeyPems: [signer.publicKeyPem], threshold: 1 },
    online: { publicKeyPems: [online.publicKeyPem], threshold: 1 },
  }),
);

function signed(metadata: Uint8Array): Uint8Array {
  const read = readOffline(metadata);
  return withSignature(read.metadata, signer.privateKeyPem);
}

function inHours(hours: number): Date {
  return new Date(Date.now() + hours * 3_600_000);
}

function targetOf({ manifest, version, sha256, sizeBytes }: Offered): TufTarget {
  const manifestSha256 = createHash("sha256")
    .update(manifest as Uint8Array)
    .digest("hex");
  const custom = { product, component: "", version: version ?? "", manifest_sha256: manifestSha256 };
  return { path: version ?? "", sha256: sha256 ?? "", sizeBytes: Number(sizeBytes), custom };
}

function serve(service: FixtureService, targets: readonly TufTarget[], hours = 24): void {
  const bound = { version: 1, bytes: signed(makeTargets(1, inHours(9_000), targets)) };
  const keys = [online.privateKeyPem];
  const snapshot = makeSnapshot({ version: 1, expiresAt: inHours(9_000), keys }, bound);
  const timestamp = makeTimestamp(
    { version: 1, expiresAt: inHours(hours), keys },
    { version: 1, bytes: snapshot },
  );
  service.tufFiles.set("1.targets.json", bound.bytes);
  service.tufFiles.set("1.snapshot.json", snapshot);
  service.tufFiles.set("timestamp.json", timestamp);
}

function trusting(device: TestDevice) {
  return { tuf: { roots: new Map([[product, root]]), folder: join(device.folder, "tuf") } };
}

/** Offers until the device has refused. @returns the reason */
async function refusal(service: FixtureService, offer: Offered): Promise<string | undefined> {
  const failed = () => service.reports.find(({ failureReason }) => failureReason !== "");
  service.offerFor = () => (failed() === undefined ? offer : undefined);
  await eventually(() => expect(failed()).toBeDefined());
  return failed()?.failureReason;
}

function codes(service: FixtureService): string[] {
  return service.device.beats.flatMap(({ errors }) => errors.map(({ code }) => code));
}

describe("a device that follows TUF metadata", () => {
  it("installs what targets name, also after its memory of metadata was damaged", async () => {
    await using service = await FixtureService.start();
    await using device = await TestDevice.make(service);
    const offer = offerOf(service, content);
    serve(service, [targetOf(offer)]);
    await device.boot(trusting(device));
    const kept = join(device.folder, "tuf", product);
    await eventually(() => writeFile(join(kept, "root.json"), "{", { flag: "r+" }));
    await writeFile(join(kept, "timestamp.json"), "");
    service.offerFor = () => offer;
    device.agent.checkForUpdate();
    await device.rebootAsked;
    expect(device.installed).toMatchObject([{ version: "1.1.0" }]);
    expect(codes(service)).toEqual([]);
  });

  it.each<[string, string, (target: TufTarget) => TufTarget[]]>([
    ["nobody named", "TUF_NOT_NAMED", () => []],
    ["was named with another content", "TUF_MISMATCH", (it) => [{ ...it, sha256: "0".repeat(64) }]],
    [
      "was named with another manifest",
      "TUF_MISMATCH",
      (it) => [{ ...it, custom: { ...it.custom, manifest_sha256: "0".repeat(64) } }],
    ],
    [
      "was named for another product",
      "TUF_MISMATCH",
      (it) => [{ ...it, custom: { ...it.custom, product: "oven" } }],
    ],
  ])("refuses signed firmware that %s: %s", async (_what, reason, targets) => {
    await using service = await FixtureService.start();
    await using device = await TestDevice.make(service);
    const offer = offerOf(service, content);
    serve(service, targets(targetOf(offer)));
    await device.boot(trusting(device));
    expect(await refusal(service, offer)).toBe(reason);
    expect(service.downloads).toEqual([]);
  });

  it("refuses firmware of a product whose root it does not have", async () => {
    await using service = await FixtureService.start();
    await using device = await TestDevice.make(service);
    const offer = offerOf(service, content, { fields: { product: "oven" } });
    serve(service, [targetOf(offer)]);
    await device.boot(trusting(device));
    expect(await refusal(service, offer)).toBe("TUF_NOT_NAMED");
  });

  it.each<[string, string, (service: FixtureService) => void]>([
    ["a freeze", "TUF_EXPIRED", (service) => serve(service, [], -1)],
    [
      "metadata that the signers did not make",
      "TUF_REFUSED",
      (service) => service.tufFiles.set("timestamp.json", Buffer.from("{}")),
    ],
    [
      "metadata without end",
      "TUF_REFUSED",
      (service) => service.tufFiles.set("timestamp.json", Buffer.alloc(100_000, 32)),
    ],
  ])("tells of %s in its heartbeats, once, and installs nothing: %s", async (_what, code, lie) => {
    await using service = await FixtureService.start();
    await using device = await TestDevice.make(service);
    const offer = offerOf(service, content);
    serve(service, [targetOf(offer)]);
    lie(service);
    await device.boot(trusting(device));
    await eventually(() => expect(codes(service)).toEqual([code]));
    expect(await refusal(service, offer)).toBe(code);
    expect(codes(service)).toEqual([code]);
    expect(device.installed).toEqual([]);
  });
});
