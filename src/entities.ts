import { AuditEventEntity } from "./access/audit-event.entity.ts";
import { DeviceCredentialEntity } from "./access/device-credential.entity.ts";
import { EnrolmentKeyEntity } from "./access/enrolment-key.entity.ts";
import { OperatorTokenEntity } from "./access/operator-token.entity.ts";
import { ServiceSecretEntity } from "./access/service-secret.entity.ts";
import { SigningKeyEntity } from "./access/signing-key.entity.ts";
import { DeviceEntity } from "./device/device.entity.ts";
import { DeviceStateEntity } from "./device/device-state.entity.ts";
import { FirmwareSignatureEntity } from "./firmware/firmware-signature.entity.ts";
import { FirmwareUpdateEntity } from "./firmware/firmware-update.entity.ts";
import { DeviceHeartbeatEntity } from "./heartbeat/device-heartbeat.entity.ts";
import { DeviceIngestEntity } from "./heartbeat/device-ingest.entity.ts";
import { RequestIdEntity } from "./infra/database/request-id.entity.ts";
import { DeploymentRingEntity } from "./rollout/deployment-ring.entity.ts";
import { DeviceUpdateEntity } from "./rollout/device-update.entity.ts";
import { RolloutEntity } from "./rollout/rollout.entity.ts";

/** Every entity of the service, listed by hand: nothing is discovered from the file system. */
export const entities = [
  AuditEventEntity,
  DeviceCredentialEntity,
  EnrolmentKeyEntity,
  OperatorTokenEntity,
  ServiceSecretEntity,
  SigningKeyEntity,
  DeviceEntity,
  DeviceStateEntity,
  FirmwareUpdateEntity,
  FirmwareSignatureEntity,
  DeviceHeartbeatEntity,
  DeviceIngestEntity,
  RequestIdEntity,
  RolloutEntity,
  DeploymentRingEntity,
  DeviceUpdateEntity,
];
