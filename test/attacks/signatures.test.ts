import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Role, SigningKeyRole } from "../../gen/ota/v1/access_pb.js";
import { AccessService } from "../../gen/ota/v1/access_service_pb.js";
import { type Firmware, FirmwareState } from "../../gen/ota/v1/firmware_pb.js";
import { FirmwareService } from "../../gen/ota/v1/firmware_service_pb.js";
import { RolloutState } from "../../gen/ota/v1/rollout_pb.js";
import { RolloutService } from "../../gen/ota/v1/rollout_service_pb.js";
import type { RpcClient } from "../../src/client/rpc-client.ts";
import { generateSigningKey, type SigningKeyPair, signManifest } from "../../src/manifest/signature.ts";
import { bytes, createFirmware, mintToken, newContent, refusal, upload } from "../support/door-clients.ts";
import { eventually } from "../support/eventually.ts";
import { startTestService, type TestService } from "../support/service.ts";

/** Somebody with one stolen key, or a key for something else, tries to get firmware out. */

const { method } = FirmwareService;
const access = AccessService.method;
const { RELEASE, SECURITY, TEST } = SigningKeyRole;

let service: TestService;
let admin: RpcClient;
beforeAll(async () => {
  service = await startTestService();
  admin = service.client();
});
afterAll(() => service[Symbol.asyncDispose]());

async function newKey(role: SigningKeyRole, expires?: Date): Promise<SigningKeyPair> {
  const key = generateSigningKey();
  await admin.unary(access.registerSigningKey, {
    name: SigningKeyRole[role],
    publicKeyPem: key.publicKeyPem,
    role,
    ...(expires === undefined ? {} : { expireTime: timestampFromDate(expires) }),
  });
  return key;
}

async function uploaded(product: string, version = "1.1.0"): Promise<Firmware> {
  const content = newContent(100);
  const firmware = await createFirmware(admin, content, { product, version });
  await upload(admin, firmware.id, content);
  return firmware;
}

async function sign(
  { id }: Firmware,
  { privateKeyPem, keyId }: SigningKeyPair,
): Promise<Firmware | undefined> {
  const { manifest } = await admin.unary(method.getFirmwareManifest, { id });
  const signature = bytes(signManifest(privateKeyPem, manifest));
  return (await admin.unary(method.signFirmware, { id, manifest, keyId, signature })).firmware;
}

const deploy = ({ id }: Firmware) => admin.unary(method.deployFirmware, { id });
const unsigned = { code: "FAILED_PRECONDITION", reason: "FIRMWARE_NOT_SIGNED" };

describe("a product that asks for a release and a security key", () => {
  const product = "guarded-os";
  beforeAll(async () => {
    await admin.unary(access.setSignatureRequirement, {
      product,
      releaseSignatures: 1,
      securitySignatures: 1,
    });
  });

  it("gets nothing out with stolen release keys, however many, nor with a test key", async () => {
    const firmware = await uploaded(product);
    for (const role of [RELEASE, RELEASE, TEST]) {
      expect((await sign(firmware, await newKey(role)))?.state).toBe(FirmwareState.UPLOADED);
    }
    expect(await refusal(deploy(firmware))).toMatchObject(unsigned);
    expect(await refusal(admin.unary(method.releaseFirmware, { id: firmware.id }))).toMatchObject(unsigned);
    expect((await sign(firmware, await newKey(SECURITY)))?.state).toBe(FirmwareState.RELEASED);
  });

  it("counts a key once, also if it is offered under another role", async () => {
    const firmware = await uploaded(product, "1.2.0");
    const stolen = await newKey(RELEASE);
    await sign(firmware, stolen);
    const again = { name: "also for security", publicKeyPem: stolen.publicKeyPem, role: SECURITY };
    expect(await refusal(admin.unary(access.registerSigningKey, again))).toMatchObject({
      reason: "DUPLICATE",
    });
    // The same key in another spelling.
    const spelled = { ...again, publicKeyPem: stolen.publicKeyPem.replaceAll("\n", "\r\n") };
    expect(await refusal(admin.unary(access.registerSigningKey, spelled))).toMatchObject({
      reason: "DUPLICATE",
    });
    await admin.unary(access.updateSigningKey, { id: stolen.keyId, role: SECURITY });
    expect(await refusal(deploy(firmware))).toMatchObject(unsigned);
  });

  it("is asked by an administrator alone", async () => {
    const operator = service.client((await mintToken(service, Role.OPERATOR)).secret);
    const easier = { product, releaseSignatures: 0, securitySignatures: 0 };
    const refused = { code: "PERMISSION_DENIED", reason: "ROLE_REQUIRED" };
    expect(await refusal(operator.unary(access.setSignatureRequirement, easier))).toMatchObject(refused);
    expect(await refusal(operator.unary(access.updateSigningKey, { id: "x", role: RELEASE }))).toMatchObject(
      refused,
    );
  });
});

describe("a test key", () => {
  it("releases nothing where production devices are served", async () => {
    const firmware = await uploaded("trial-os");
    expect((await sign(firmware, await newKey(TEST)))?.state).toBe(FirmwareState.UPLOADED);
    expect(await refusal(deploy(firmware))).toMatchObject(unsigned);
  });
});

describe("a key that has expired", () => {
  it("stops what rests on it, and neither it nor an older signature of it brings that back", async () => {
    const firmware = await uploaded("dated-os");
    const key = await newKey(RELEASE, new Date(Date.now() + 3_600_000));
    await sign(firmware, key);
    const { rollout } = await deploy(firmware);
    const id = rollout?.id ?? "";
    await admin.unary(access.updateSigningKey, { id: key.keyId, expireTime: timestampFromDate(new Date()) });
    const { getRollout, resumeRollout } = RolloutService.method;
    await eventually(async () => {
      expect((await admin.unary(getRollout, { id })).rollout?.state).toBe(RolloutState.PAUSED);
    });
    expect(await refusal(admin.unary(resumeRollout, { id }))).toMatchObject(unsigned);
    expect(await refusal(sign(firmware, key))).toMatchObject({ reason: "SIGNING_KEY_EXPIRED" });
    const past = { name: "again", publicKeyPem: generateSigningKey().publicKeyPem };
    const expireTime = timestampFromDate(new Date(0));
    expect(await refusal(admin.unary(access.registerSigningKey, { ...past, expireTime }))).toMatchObject({
      reason: "INVALID_REQUEST",
      fields: ["expire_time"],
    });
    await sign(firmware, await newKey(RELEASE));
    await admin.unary(resumeRollout, { id });
  });
});

describe("what a product asks for", () => {
  it("stops what runs without it", async () => {
    const product = "stricter-os";
    const firmware = await uploaded(product);
    await sign(firmware, await newKey(RELEASE));
    const { rollout } = await deploy(firmware);
    const { requirement } = await admin.unary(access.setSignatureRequirement, {
      product,
      securitySignatures: 1,
    });
    expect(requirement).toMatchObject({ product, releaseSignatures: 0, securitySignatures: 1 });
    await eventually(async () => {
      const { rollout: now } = await admin.unary(RolloutService.method.getRollout, { id: rollout?.id ?? "" });
      expect(now?.state).toBe(RolloutState.PAUSED);
      expect(now?.stateReason).toContain("0 of security keys, 1 are needed");
    });
    const { requirements } = await admin.unary(access.listSignatureRequirements, {});
    expect(requirements.map((each) => each.product)).toContain(product);
  });
});
