import { randomUUID } from "node:crypto";
import type { DescMethod } from "@bufbuild/protobuf";
import type { Json } from "./hostile-requests.ts";

/** Requests that would do, by service and method, as JSON. */
export type SeedRequests = Readonly<Record<string, { readonly [name: string]: Json }>>;

/** What the requests are about. */
export interface SeedSubjects {
  readonly enrolmentKey: string;
  readonly device: string;
  readonly other: string;
  readonly firmware: string;
  readonly rollout: string;
}

/** What would do, where an empty request would not even come to the field in question. What ends something names nothing there is. */
export function seedRequests({ enrolmentKey, device, other, firmware, rollout }: SeedSubjects): SeedRequests {
  const nobody = randomUUID();
  const time = { startTime: "2026-01-01T00:00:00Z", endTime: "2026-01-02T00:00:00Z" };
  return {
    "DeviceService/EnrolDevice": {
      enrolmentKey,
      serialNumber: "hostile",
      deviceType: "thermostat",
      hardwareModel: "rev a",
      firmwareVersion: "1.0.0",
    },
    "DeviceService/RegisterDevice": {
      serialNumber: "registered",
      deviceType: "thermostat",
      hardwareModel: "rev a",
    },
    "DeviceService/GetDevice": { id: device },
    "DeviceService/UpdateDevice": { id: other },
    "DeviceService/RetireDevice": { id: nobody },
    "DeviceService/ResetDeviceCredential": { id: nobody },
    "DeviceService/BatchUpdateDevices": { deviceIds: [other] },
    "DeviceService/CreateSavedFilter": { name: "some", filter: 'device_type = "thermostat"' },
    "DeviceService/DeleteSavedFilter": { id: nobody },
    "DeviceService/QueryVersionHistory": time,
    "ErrorService/GetErrorGroup": { id: nobody },
    "ErrorService/UpdateErrorGroup": { id: nobody },
    "ErrorService/GetErrorTimeline": { id: nobody },
    "ErrorService/ListErrorGroupDevices": { id: nobody },
    "ErrorService/DownloadCrashLog": { id: nobody },
    "FirmwareService/CreateFirmware": {
      product: "hostile",
      version: "1.0.0",
      deviceTypes: ["thermostat"],
      sha256: "0".repeat(64),
      sizeBytes: "10",
    },
    "FirmwareService/GetFirmware": { id: firmware },
    "FirmwareService/UpdateFirmware": { id: firmware },
    "FirmwareService/DeleteFirmware": { id: nobody },
    "FirmwareService/GetFirmwareManifest": { id: firmware },
    "FirmwareService/SignFirmware": { id: nobody },
    "FirmwareService/GetFirmwareUpload": { id: firmware },
    "FirmwareService/UploadFirmwareChunk": { id: firmware },
    "FirmwareService/DeployFirmware": { id: nobody },
    "HeartbeatService/SendHeartbeat": { heartbeats: [{ firmwareVersion: "1.0.0", bootId: "b" }] },
    "HeartbeatService/StreamHeartbeats": { hello: { agentVersion: "1.0.0" } },
    "HeartbeatService/ListHeartbeats": { deviceId: device, ...time },
    "RolloutService/CreateRollout": { firmwareId: firmware },
    "RolloutService/GetRollout": { id: rollout },
    "RolloutService/PreviewRollout": { firmwareId: firmware },
    "RolloutService/ExplainUpdate": { rolloutId: rollout, deviceId: device },
    "RolloutService/GetRolloutHealth": { id: rollout },
    "RolloutService/ListFailureReasons": { id: rollout },
    "RolloutService/ListDeviceUpdates": { rolloutId: rollout },
    "RolloutService/WatchRollout": { id: rollout },
    "TelemetryService/QuerySeries": { deviceId: device, metrics: ["battery_percent"], ...time },
    "TelemetryService/ExportHeartbeats": { deviceId: device, ...time },
    "TelemetryService/GetTrack": { deviceId: device, ...time },
    "TelemetryService/SearchPositions": { south: 1, west: 1, north: 2, east: 2 },
    "UpdateService/CheckForUpdate": { firmwareVersion: "1.0.0", bootId: "b" },
    "UpdateService/DownloadFirmware": { updateId: nobody },
    "UpdateService/ReportUpdateStatus": { updateId: nobody, state: "DEVICE_UPDATE_STATE_DOWNLOADING" },
    "AccessService/CreateToken": { name: "some", role: "ROLE_VIEWER" },
    "AccessService/CreateEnrolmentKey": { name: "some" },
    "AccessService/RevokeToken": { id: nobody },
    "AccessService/RevokeEnrolmentKey": { id: nobody },
    "AccessService/RevokeSigningKey": { id: nobody, reason: "lost" },
    "AccessService/DisablePerson": { id: nobody },
    "AccessService/EnablePerson": { id: nobody },
    "AccessService/EndPersonSessions": { id: nobody },
  };
}

/** Whether devices call a method, and an administrator may not. */
export function isForDevices({ parent, name }: DescMethod): boolean {
  const isDevices = /^ota\.v1\.(?:UpdateService|HeartbeatService)$/.test(parent.typeName);
  return (isDevices && name !== "ListHeartbeats") || name === "UploadCrashLog";
}
