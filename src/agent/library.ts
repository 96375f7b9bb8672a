/** What the package `device-ota-client` gives to whoever builds a device, as `device-ota-client/agent`. */
export { OtaError } from "../errors.ts";
export { type Clock, systemClock } from "../infra/clock.ts";
export type { Manifest } from "../manifest/manifest.ts";
export type { RequiredSignatures } from "../manifest/required-signatures.ts";
export type { ManifestSignature } from "../manifest/signature.ts";
export { type ManifestToVerify, type TrustedKey, verifyManifest } from "../manifest/verify-manifest.ts";
export { AgentFailure } from "./agent-failure.ts";
export { CommandInstaller, type CommandInstallerOptions } from "./command-installer.ts";
export { DeviceAgent, type DeviceAgentOptions } from "./device-agent.ts";
export { type DeviceSigner, keyFileSigner } from "./device-signer.ts";
export {
  type DeviceState,
  type DeviceStorage,
  FileDeviceStorage,
  MemoryDeviceStorage,
  type PendingUpdate,
} from "./device-storage.ts";
export type { Enrolment } from "./enrol.ts";
export type { SessionState } from "./heartbeat-session.ts";
export { type FirmwareImage, type Installer, InstallFailure, type RunningFirmware } from "./installer.ts";
export { LinuxSensors, type LinuxSensorsOptions } from "./linux-sensors.ts";
export { type Trust, trustIn } from "./offer-check.ts";
export type { ErrorNote, SensorReading, Sensors } from "./sensors.ts";
export type { TufTrust } from "./tuf-check.ts";
export type { UpdatePhase } from "./update-engine.ts";
