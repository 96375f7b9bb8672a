import { generateKeyPairSync, randomUUID } from "node:crypto";
import type { DescMethod } from "@bufbuild/protobuf";
import { accessRuleOf } from "../../src/api/pipeline/access-rule.ts";
import { thumbprint } from "../../src/manifest/signature.ts";
import type { Json } from "./hostile-requests.ts";

/** Requests that would do, by service and method; a function makes a new one each time, where the same again would be a repeat. */
export type SeedRequests = Readonly<Record<string, SeedRequest | (() => SeedRequest)>>;

/** A request as JSON. */
export interface SeedRequest {
  readonly [name: string]: Json;
}

/** A request of a method that would do: an empty one, unless the seeds have another. */
export function seedOf(seeds: SeedRequests, { parent, name }: DescMethod): SeedRequest {
  const seed = seeds[`${parent.name}/${name}`] ?? {};
  return typeof seed === "function" ? seed() : seed;
}

/** What the requests are about. */
export interface SeedSubjects {
  readonly enrolmentKey: string;
  readonly device: string;
  readonly other: string;
  readonly firmware: string;
  readonly rollout: string;
}

/** A key that firmware may be signed with. */
const publicKeyPem = String(generateKeyPairSync("ed25519").publicKey.export({ type: "spki", format: "pem" }));

/** What would do, where an empty request would not even come to the field in question. What ends something names nothing there is. */
export function seedRequests({ enrolmentKey, device, other, firmware, rollout }: SeedSubjects): SeedRequests {
  const nobody = randomUUID();
  const product = "hostile";
  const version = { product, version: "9.9.9" };
  const board = { deviceType: "thermostat", hardwareModel: "rev a" };
  const attachment = { id: firmware, attachmentId: nobody };
  const time = { startTime: "2026-01-01T00:00:00Z", endTime: "2026-01-02T00:00:00Z" };
  return {
    "DeviceService/EnrolDevice": () => ({
      ...board,
      enrolmentKey,
      requestId: randomUUID(),
      serialNumber: randomUUID(),
      firmwareVersion: "1.0.0",
    }),
    "DeviceService/ReplaceDeviceKey": {
      requestId: randomUUID(),
      publicKey: publicKeyPem,
      keyProof: "a.b.c",
    },
    "DeviceService/RegisterDevice": () => ({
      ...board,
      requestId: randomUUID(),
      serialNumber: randomUUID(),
    }),
    "DeviceService/CreateDevices": () => ({
      requestId: randomUUID(),
      devices: [{ ...board, serialNumber: randomUUID() }],
    }),
    "DeviceService/ApproveDevice": { id: other },
    "DeviceService/BlockDevice": { id: other },
    "DeviceService/UnblockDevice": { id: other },
    "DeviceService/QuarantineDevice": { id: other },
    "DeviceService/ReinstateDevice": { id: other },
    "DeviceService/CreateModelAlias": { alias: "rev b", hardwareModel: "rev a" },
    "DeviceService/DeleteModelAlias": { alias: "rev c" },
    "DeviceService/UpdateDeviceType": { name: "thermostat" },
    "DeviceService/GetDevice": { id: device },
    "DeviceService/UpdateDevice": { id: other },
    "DeviceService/RetireDevice": { id: nobody },
    "DeviceService/ResetDeviceCredential": { id: nobody },
    "DeviceService/BatchUpdateDevices": { deviceIds: [other] },
    "DeviceService/CreateSavedFilter": { name: "some", filter: 'device_type = "thermostat"' },
    "DeviceService/DeleteSavedFilter": { id: nobody },
    "DeviceService/QueryVersionHistory": time,
    "ErrorService/GetErrorGroup": { id: nobody },
    "ErrorService/UpdateErrorGroup": { id: nobody, state: "ERROR_GROUP_STATE_IGNORED" },
    "ErrorService/MergeErrorGroups": { id: nobody, mergedIds: [randomUUID()] },
    "ErrorService/SplitErrorGroup": { id: nobody },
    "ErrorService/ListErrorOccurrences": { deviceId: device },
    "ErrorService/GetSourceLines": { id: nobody },
    "ErrorService/CreateGroupingRule": { rule: { title: "some", code: "E1" } },
    "ErrorService/DeleteGroupingRule": { id: nobody },
    "ErrorService/TryGroupingRule": { code: "E1", report: { code: "E1" } },
    "ErrorService/DeleteSymbolFile": { id: nobody },
    "ErrorService/GetErrorTimeline": { id: nobody },
    "ErrorService/ListErrorGroupDevices": { id: nobody },
    "ErrorService/DownloadCrashLog": { id: nobody },
    "FirmwareService/CreateFirmware": {
      product,
      version: "1.0.0",
      deviceTypes: ["thermostat"],
      sha256: "0".repeat(64),
      sizeBytes: "10",
    },
    "FirmwareService/GetFirmware": { id: firmware },
    "FirmwareService/UpdateFirmware": { id: firmware },
    "FirmwareService/DeleteFirmware": { id: nobody },
    "FirmwareService/GetFirmwareManifest": { id: firmware },
    "FirmwareService/SignFirmware": { id: firmware, manifest: "e30=", keyId: "some", signature: "AAAA" },
    "FirmwareService/ReleaseFirmware": { id: firmware },
    "FirmwareService/AttachFirmwareFile": { id: firmware, fileName: "sbom.json", data: "e30=" },
    "FirmwareService/DetachFirmwareFile": attachment,
    "FirmwareService/DownloadFirmwareAttachment": attachment,
    "FirmwareService/PreviewRecall": { ...version, replacementId: firmware },
    "FirmwareService/RecallFirmware": { ...version, replacementId: firmware },
    "FirmwareService/ReinstateFirmware": version,
    "FirmwareService/GetFirmwareUpload": { id: firmware },
    "FirmwareService/UploadFirmwareChunk": { id: firmware },
    "FirmwareService/DeployFirmware": { id: nobody },
    "HeartbeatService/SendHeartbeat": { heartbeats: [{ firmwareVersion: "1.0.0", bootId: "b" }] },
    "HeartbeatService/StreamHeartbeats": { hello: { deviceId: device, agentVersion: "1.0.0" } },
    "HeartbeatService/ListHeartbeats": { deviceId: device, ...time },
    "RolloutService/CreateRollout": { firmwareId: firmware },
    "RolloutService/GetRollout": { id: rollout },
    "RolloutService/PreviewRollout": { firmwareId: firmware },
    "RolloutService/ExplainUpdate": { rolloutId: rollout, deviceId: device },
    "RolloutService/GetRolloutHealth": { id: rollout },
    "RolloutService/ListFailureReasons": { id: rollout },
    "RolloutService/ListDeviceUpdates": { rolloutId: rollout },
    "RolloutService/WatchRollout": { id: rollout },
    "RolloutService/UpdateRollout": { id: rollout, name: "some" },
    "RolloutService/UpdateDeviceUpdate": { id: nobody, deviceId: device, metadata: {} },
    "RolloutService/StartRollout": { id: rollout },
    "RolloutService/PauseRollout": { id: rollout },
    "RolloutService/ResumeRollout": { id: rollout },
    "RolloutService/ApproveRollout": { id: rollout },
    "RolloutService/PromoteRollout": { id: rollout },
    "RolloutService/AbortRollout": { id: nobody },
    "RolloutService/ArchiveRollout": { id: nobody },
    "RolloutService/UnarchiveRollout": { id: rollout },
    "RolloutService/RollbackRollout": { id: nobody },
    "RolloutService/RollbackRing": { id: nobody, ring: "all" },
    "RolloutService/RollbackDevice": { id: nobody, deviceId: other },
    "RolloutService/RetryDevice": { id: rollout, deviceId: other },
    "TelemetryService/QuerySeries": { deviceId: device, metrics: ["battery_percent"], ...time },
    "TelemetryService/ExportHeartbeats": { deviceId: device, ...time, format: "EXPORT_FORMAT_CSV" },
    "TelemetryService/GetTrack": { deviceId: device, ...time },
    "TelemetryService/SearchPositions": { south: 1, west: 1, north: 2, east: 2 },
    "UpdateService/CheckForUpdate": { firmwareVersion: "1.0.0", bootId: "b" },
    "UpdateService/DownloadFirmware": { updateId: nobody },
    "UpdateService/ReportUpdateStatus": { updateId: nobody, state: "DEVICE_UPDATE_STATE_DOWNLOADING" },
    "AccessService/CreateToken": { name: "some", role: "ROLE_VIEWER" },
    "AccessService/CreateEnrolmentKey": { name: "some" },
    "AccessService/RegisterSigningKey": { name: "some", publicKeyPem },
    "AccessService/UpdateSigningKey": { id: thumbprint(publicKeyPem) },
    "AccessService/SetSignatureRequirement": { product, releaseSignatures: 1 },
    "AccessService/RevokeToken": { id: nobody },
    "AccessService/RevokeEnrolmentKey": { id: nobody },
    "AccessService/RevokeSigningKey": { id: nobody, reason: "lost" },
    "AccessService/DisablePerson": { id: nobody },
    "AccessService/EnablePerson": { id: nobody },
    "AccessService/EndPersonSessions": { id: nobody },
    "AlertService/AcknowledgeAlert": { id: nobody },
    "TufService/CreateTufOnlineKey": { product },
    "TufService/PublishTufRoot": { product, root: "e30=" },
    "TufService/PublishTufTargets": { product, targets: "e30=" },
    "TufService/DraftTufTargets": { product },
    "TufService/GetTufRepository": { product },
    "TufService/GetTufMetadata": { product, file: "timestamp.json" },
    // It is told of no event, and there is no such host.
    "WebhookService/CreateWebhook": () => ({
      requestId: randomUUID(),
      name: randomUUID(),
      url: "https://receiver.invalid",
      eventTypes: ["nothing"],
    }),
    "WebhookService/UpdateWebhook": { id: nobody },
    "WebhookService/DeleteWebhook": { id: nobody },
    "WebhookService/TestWebhook": { id: nobody },
    "WebhookService/ListWebhookDeliveries": { id: nobody },
    "WebhookService/ReplayDeadLetters": { id: nobody },
  };
}

/** Whether devices call a method, and an administrator may not. */
export function isForDevices(method: DescMethod): boolean {
  const { device, role } = accessRuleOf(method);
  return device !== undefined && role === undefined;
}
