import { AuditEventEntity } from "./access/audit-event.entity.ts";
import { AuditLinkEntity, UnlinkedAuditEventEntity } from "./access/audit-link.entity.ts";
import { DeviceCredentialEntity } from "./access/device-credential.entity.ts";
import { DeviceKeyEntity } from "./access/device-key.entity.ts";
import { EndedSessionEntity } from "./access/ended-session.entity.ts";
import { EnrolmentKeyEntity } from "./access/enrolment-key.entity.ts";
import { EnrolmentKeySerialEntity } from "./access/enrolment-key-serial.entity.ts";
import { PersonEntity } from "./access/oidc/person.entity.ts";
import { OperatorTokenEntity } from "./access/operator-token.entity.ts";
import { ServiceSecretEntity } from "./access/service-secret.entity.ts";
import { SignatureRequirementEntity } from "./access/signature-requirement.entity.ts";
import { SigningKeyEntity } from "./access/signing-key.entity.ts";
import { AlertEntity, AlertSignalEntity } from "./alert/alert.entity.ts";
import { FleetEventEntity } from "./alert/fleet-event.entity.ts";
import { WebhookDeliveryEntity, WebhookEntity } from "./alert/webhook/webhook.entity.ts";
import { CrashLogEntity } from "./crash/crash-log.entity.ts";
import { ErrorCountEntity, ErrorGroupDeviceEntity, ErrorGroupEntity } from "./crash/error-group.entity.ts";
import { ErrorInboxEntity } from "./crash/error-inbox.entity.ts";
import { ErrorOccurrenceEntity } from "./crash/error-occurrence.entity.ts";
import { GroupingRuleEntity } from "./crash/grouping-rule.entity.ts";
import { SymbolFileEntity } from "./crash/symbols/symbol-file.entity.ts";
import { FleetCountEntity } from "./device/fleet/fleet-count.entity.ts";
import { FleetVersionCountEntity } from "./device/fleet/fleet-version-count.entity.ts";
import { PresenceChangeEntity } from "./device/fleet/presence-change.entity.ts";
import { DeviceBootsEntity } from "./device/registry/device-boots.entity.ts";
import { ModelAliasEntity } from "./device/registry/model-alias.entity.ts";
import { SavedFilterEntity } from "./device/registry/saved-filter.entity.ts";
import { DeviceEntity } from "./device/state/device.entity.ts";
import { DeviceStateEntity } from "./device/state/device-state.entity.ts";
import { DeviceTypeEntity } from "./device/state/device-type.entity.ts";
import { HeartbeatFaultEntity } from "./device/state/heartbeat-fault.entity.ts";
import { VersionChangeEntity } from "./device/state/version-change.entity.ts";
import { FirmwareAttachmentEntity } from "./firmware/firmware-attachment.entity.ts";
import { FirmwareSignatureEntity } from "./firmware/firmware-signature.entity.ts";
import { FirmwareUpdateEntity } from "./firmware/firmware-update.entity.ts";
import { FirmwareVersionKeyEntity } from "./firmware/firmware-version-key.entity.ts";
import { RecallEntity } from "./firmware/recall.entity.ts";
import {
  TufMetadataEntity,
  TufOnlineKeyEntity,
  TufRepositoryEntity,
} from "./firmware/repository/tuf-metadata.entity.ts";
import { DeviceHeartbeatEntity } from "./heartbeat/device-heartbeat.entity.ts";
import { DeviceIngestEntity } from "./heartbeat/device-ingest.entity.ts";
import { RateReportEntity } from "./infra/database/rate-report.entity.ts";
import { RequestIdEntity } from "./infra/database/request-id.entity.ts";
import { WriteProbeEntity } from "./infra/database/write-probe.entity.ts";
import { RolloutHealthEntity } from "./rollout/health/rollout-health.entity.ts";
import { DeploymentRingEntity } from "./rollout/model/deployment-ring.entity.ts";
import { DeviceUpdateEntity } from "./rollout/model/device-update.entity.ts";
import { RingKeyCountEntity } from "./rollout/model/ring-key-count.entity.ts";
import { RolloutEntity } from "./rollout/model/rollout.entity.ts";
import { ClockStepEntity } from "./rollout/proof/clock-step.entity.ts";
import { DeviceMetricEntity } from "./telemetry/device-metric.entity.ts";
import { DevicePositionEntity } from "./telemetry/device-position.entity.ts";
import { FiveMinuteRollupEntity, OneHourRollupEntity } from "./telemetry/heartbeat-rollup.entity.ts";
import { LateBucketEntity, RollupProgressEntity } from "./telemetry/rollup-progress.entity.ts";

/** Every entity of the service, listed by hand: nothing is discovered from the file system. */
export const entities = [
  AuditEventEntity,
  AuditLinkEntity,
  UnlinkedAuditEventEntity,
  DeviceCredentialEntity,
  DeviceKeyEntity,
  EndedSessionEntity,
  EnrolmentKeyEntity,
  EnrolmentKeySerialEntity,
  OperatorTokenEntity,
  PersonEntity,
  ServiceSecretEntity,
  SignatureRequirementEntity,
  SigningKeyEntity,
  AlertEntity,
  AlertSignalEntity,
  FleetEventEntity,
  WebhookEntity,
  WebhookDeliveryEntity,
  CrashLogEntity,
  ErrorGroupEntity,
  ErrorCountEntity,
  ErrorGroupDeviceEntity,
  ErrorOccurrenceEntity,
  ErrorInboxEntity,
  GroupingRuleEntity,
  SymbolFileEntity,
  DeviceEntity,
  DeviceStateEntity,
  DeviceTypeEntity,
  VersionChangeEntity,
  ClockStepEntity,
  HeartbeatFaultEntity,
  FleetCountEntity,
  FleetVersionCountEntity,
  PresenceChangeEntity,
  DeviceBootsEntity,
  ModelAliasEntity,
  SavedFilterEntity,
  FirmwareUpdateEntity,
  FirmwareSignatureEntity,
  FirmwareAttachmentEntity,
  FirmwareVersionKeyEntity,
  RecallEntity,
  TufRepositoryEntity,
  TufMetadataEntity,
  TufOnlineKeyEntity,
  DeviceHeartbeatEntity,
  DeviceIngestEntity,
  RateReportEntity,
  RequestIdEntity,
  WriteProbeEntity,
  RolloutEntity,
  DeploymentRingEntity,
  DeviceUpdateEntity,
  RingKeyCountEntity,
  RolloutHealthEntity,
  FiveMinuteRollupEntity,
  OneHourRollupEntity,
  RollupProgressEntity,
  LateBucketEntity,
  DeviceMetricEntity,
  DevicePositionEntity,
];
