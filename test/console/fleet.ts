import { createHash, randomBytes } from "node:crypto";
import { AccessService } from "../../gen/ota/v1/access_service_pb.js";
import { FirmwareService } from "../../gen/ota/v1/firmware_service_pb.js";
import { FleetSimulator, type FleetSimulatorOptions } from "../../src/agent/fleet-simulator.ts";
import { createLogger } from "../../src/infra/logger.ts";
import { generateSigningKey, type SigningKeyPair, signManifest } from "../../src/manifest/signature.ts";
import type { TestService } from "../support/service.ts";

/** Registers a new signing key under a name. */
export async function registerKey(service: TestService, name = "release team"): Promise<SigningKeyPair> {
  const key = generateSigningKey();
  await service
    .client()
    .unary(AccessService.method.registerSigningKey, { name, publicKeyPem: key.publicKeyPem });
  return key;
}

/** Creates, uploads and signs a firmware for thermostats; answers with its id. */
export async function releaseFirmware(
  service: TestService,
  key: SigningKeyPair,
  version: string,
): Promise<string> {
  const client = service.client();
  const content = randomBytes(200_000);
  const { firmware } = await client.unary(FirmwareService.method.createFirmware, {
    product: "thermostat-os",
    version,
    deviceTypes: ["thermostat"],
    sha256: createHash("sha256").update(content).digest("hex"),
    sizeBytes: BigInt(content.length),
  });
  const id = firmware?.id ?? "";
  await client.unary(FirmwareService.method.uploadFirmwareChunk, { id, data: content, finish: true });
  const { manifest } = await client.unary(FirmwareService.method.getFirmwareManifest, { id });
  const { keys } = await client.unary(AccessService.method.listSigningKeys, {});
  const keyId = keys.find(({ publicKeyPem }) => publicKeyPem.trim() === key.publicKeyPem.trim())?.id ?? "";
  await client.unary(FirmwareService.method.signFirmware, {
    id,
    manifest,
    keyId,
    signature: signManifest(key.privateKeyPem, manifest),
  });
  return id;
}

/** Lets simulated thermostats join. */
export function startFleet(
  service: TestService,
  key: SigningKeyPair,
  options: Partial<FleetSimulatorOptions> & { readonly count: number },
): Promise<FleetSimulator> {
  return FleetSimulator.start({
    address: service.grpcAddress,
    enrolmentKey: service.enrolmentKey,
    trustedKeys: [key.publicKeyPem],
    logger: createLogger({ level: "silent", pretty: false }),
    models: [{ deviceType: "thermostat", hardwareModel: "tx-200" }],
    heartbeatIntervalMs: 500,
    installMs: 50,
    rebootMs: 50,
    crashAfterMs: 300,
    maxRetryPauseMs: 500,
    ...options,
  });
}
