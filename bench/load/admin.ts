import { createHash, generateKeyPairSync, randomUUID, sign } from "node:crypto";
import { AccessService } from "../../gen/ota/v1/access_service_pb.js";
import type { Firmware } from "../../gen/ota/v1/firmware_pb.js";
import { FirmwareService } from "../../gen/ota/v1/firmware_service_pb.js";
import type { RpcClient } from "../../src/client/rpc-client.ts";

/** How much of a firmware goes into one message of an upload. */
const uploadChunkBytes = 256 * 1024;

/** Creates, uploads and signs a firmware whose content is `bytes`. */
export async function releaseFirmware(
  client: RpcClient,
  firmware: { product: string; version: string; deviceTypes: string[]; bytes: Uint8Array },
): Promise<Firmware> {
  const created = await client.unary(FirmwareService.method.createFirmware, {
    requestId: randomUUID(),
    product: firmware.product,
    version: firmware.version,
    deviceTypes: firmware.deviceTypes,
    sha256: createHash("sha256").update(firmware.bytes).digest("hex"),
    sizeBytes: BigInt(firmware.bytes.length),
  });
  const id = created.firmware?.id ?? "";
  await client.clientStream(FirmwareService.method.uploadFirmware, chunksOf(id, firmware.bytes));
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  const key = await client.unary(AccessService.method.registerSigningKey, {
    name: `bench ${firmware.version}`,
    publicKeyPem: publicKey.export({ type: "spki", format: "pem" }).toString(),
  });
  const { manifest } = await client.unary(FirmwareService.method.getFirmwareManifest, { id });
  const signed = await client.unary(FirmwareService.method.signFirmware, {
    id,
    manifest,
    keyId: key.key?.id ?? "",
    signature: sign(null, manifest, privateKey),
  });
  if (signed.firmware === undefined) throw new Error("the firmware was not released");
  return signed.firmware;
}

async function* chunksOf(id: string, bytes: Uint8Array) {
  for (let offset = 0; offset < bytes.length; offset += uploadChunkBytes) {
    const end = Math.min(offset + uploadChunkBytes, bytes.length);
    yield { id, offset: BigInt(offset), data: bytes.subarray(offset, end), finish: end === bytes.length };
  }
}
