import type { MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import {
  type FirmwareAttachmentSchema,
  type FirmwareSchema,
  type FirmwareSignatureSchema,
  FirmwareState,
  type RecallSchema,
  UpdateKind,
  AttachmentKind as WireAttachmentKind,
} from "../../gen/ota/v1/firmware_pb.js";
import type {
  CreateFirmwareRequestSchema,
  ListFirmwareRequestSchema,
  UpdateFirmwareRequestSchema,
} from "../../gen/ota/v1/firmware_service_pb.js";
import { wireKeyRole } from "../access/access-messages.ts";
import type { AttachmentKind } from "../manifest/attachment.ts";
import type {
  Firmware,
  FirmwareChange,
  FirmwareFields,
  FirmwareFilter,
  FirmwareSignature,
} from "./firmware.ts";
import type { FirmwareAttachmentRow } from "./firmware-attachment.entity.ts";
import { firmwareEtag } from "./firmware-etag.ts";
import { firmwareListFilter } from "./firmware-filter.ts";
import type { FirmwareUpdateRow, UpdateKind as UpdateKindName } from "./firmware-update.entity.ts";
import type { UploadChunk } from "./firmware-uploads.ts";
import type { Recall } from "./recalls.ts";

/** A firmware on the wire. */
export function toFirmwareMessage(firmware: Firmware): MessageInitShape<typeof FirmwareSchema> {
  const { expiresAt, releasedAt, deletedAt, damagedAt, recall } = firmware;
  return {
    id: firmware.id,
    product: firmware.product,
    version: firmware.version,
    state: stateValues[firmware.state],
    deviceTypes: [...firmware.deviceTypes],
    hardwareModels: [...firmware.hardwareModels],
    minBatteryPercent: firmware.minBatteryPercent,
    minFreeStorageBytes: BigInt(firmware.minFreeStorageBytes),
    minCurrentVersion: firmware.minCurrentVersion,
    releaseNotes: firmware.releaseNotes,
    metadata: { ...firmware.metadata },
    sha256: firmware.sha256,
    sizeBytes: BigInt(firmware.sizeBytes),
    securityCounter: BigInt(firmware.securityCounter),
    securityFix: firmware.securityFix,
    kind: toUpdateKind(firmware.kind),
    component: firmware.component,
    mandatoryStep: firmware.mandatoryStep,
    reportedVersions: [...firmware.reportedVersions],
    etag: firmwareEtag(firmware),
    ...(firmware.manifest === undefined ? {} : { manifest: new Uint8Array(firmware.manifest) }),
    signatures: firmware.signatures.map(toSignatureMessage),
    attachments: firmware.attachments.map(toAttachmentMessage),
    ...(expiresAt === undefined ? {} : { expireTime: timestampFromDate(expiresAt) }),
    createTime: timestampFromDate(firmware.createdAt),
    updateTime: timestampFromDate(firmware.updatedAt),
    ...(releasedAt === undefined ? {} : { releaseTime: timestampFromDate(releasedAt) }),
    ...(deletedAt === undefined ? {} : { deleteTime: timestampFromDate(deletedAt) }),
    ...(damagedAt === undefined ? {} : { damagedTime: timestampFromDate(damagedAt) }),
    ...(recall === undefined ? {} : { recall: toRecallMessage(recall) }),
  };
}

/** A file beside a firmware on the wire. */
export function toAttachmentMessage(
  row: FirmwareAttachmentRow,
): MessageInitShape<typeof FirmwareAttachmentSchema> {
  return {
    id: row.id,
    kind: attachmentKindValues[row.kind],
    format: row.format,
    sha256: row.sha256,
    sizeBytes: BigInt(row.sizeBytes),
    fileName: row.fileName,
    creator: row.creator,
    createTime: timestampFromDate(row.createdAt),
  };
}

/** A recall on the wire. */
export function toRecallMessage(recall: Recall): MessageInitShape<typeof RecallSchema> {
  const { firmwareId, runningCount, recalledAt, ...told } = recall;
  return {
    ...told,
    firmwareId: firmwareId ?? "",
    recallTime: timestampFromDate(recalledAt),
    ...(runningCount === undefined ? {} : { runningCount: BigInt(runningCount) }),
  };
}

/** A signature on the wire, in a firmware or in an offer. */
export function toSignatureMessage(
  signature: FirmwareSignature,
): MessageInitShape<typeof FirmwareSignatureSchema> {
  return {
    keyId: signature.keyId,
    algorithm: signature.algorithm,
    signature: new Uint8Array(signature.signature),
    keyName: signature.keyName,
    verifyTime: timestampFromDate(signature.verifiedAt),
    keyRevoked: signature.keyRevoked,
    keyRole: wireKeyRole(signature.keyRole),
    ...(signature.keyExpiresAt === undefined
      ? {}
      : { keyExpireTime: timestampFromDate(signature.keyExpiresAt) }),
  };
}

/** What an update replaces, on the wire. */
export function toUpdateKind(kind: UpdateKindName): UpdateKind {
  return UpdateKind[kind];
}

/** What a validated create request says. */
export function fromCreateRequest(request: MessageShape<typeof CreateFirmwareRequestSchema>): FirmwareFields {
  return {
    product: request.product,
    version: request.version,
    reportedVersions: request.reportedVersions,
    deviceTypes: request.deviceTypes,
    hardwareModels: request.hardwareModels,
    minBatteryPercent: request.minBatteryPercent,
    minFreeStorageBytes: Number(request.minFreeStorageBytes),
    minCurrentVersion: request.minCurrentVersion,
    releaseNotes: request.releaseNotes,
    metadata: request.metadata,
    sha256: request.sha256,
    sizeBytes: Number(request.sizeBytes),
    securityCounter: Number(request.securityCounter),
    securityFix: request.securityFix,
    kind: request.kind === UpdateKind.APPLICATION ? "APPLICATION" : "FIRMWARE",
    component: request.component,
    mandatoryStep: request.mandatoryStep,
  };
}

/** What a validated update request says. */
export function fromUpdateRequest(request: MessageShape<typeof UpdateFirmwareRequestSchema>): FirmwareChange {
  const { minFreeStorageBytes } = request;
  return {
    releaseNotes: request.releaseNotes,
    minBatteryPercent: request.minBatteryPercent,
    minFreeStorageBytes: minFreeStorageBytes === undefined ? undefined : Number(minFreeStorageBytes),
    metadata: request.metadata?.entries,
    minCurrentVersion: request.minCurrentVersion,
    deviceTypes: request.deviceTypes?.names,
    hardwareModels: request.hardwareModels?.names,
    mandatoryStep: request.mandatoryStep,
    reportedVersions: request.reportedVersions?.texts,
    etag: request.etag || undefined,
  };
}

/** The filters of a validated list request; empty text does not filter. */
export function fromListRequest(request: MessageShape<typeof ListFirmwareRequestSchema>): FirmwareFilter {
  return {
    product: request.product || undefined,
    version: request.version || undefined,
    deviceType: request.deviceType || undefined,
    hardwareModel: request.hardwareModel || undefined,
    states: request.states.flatMap((state) => stateNames.get(state) ?? []),
    showDeleted: request.showDeleted,
    matching: firmwareListFilter.read(request.filter),
  };
}

/** A part of an upload. Offsets past 2^53 lose precision, but lie past every end anyway. */
export function fromUploadRequest(request: {
  readonly offset: bigint;
  readonly data: Uint8Array;
  readonly crc32c?: number | undefined;
  readonly finish: boolean;
}): UploadChunk {
  const { offset, data, crc32c, finish } = request;
  return { offset: Number(offset), data, crc32c, finish };
}

const attachmentKindValues: Readonly<Record<AttachmentKind, WireAttachmentKind>> = {
  cyclonedx: WireAttachmentKind.CYCLONEDX,
  spdx: WireAttachmentKind.SPDX,
  suit: WireAttachmentKind.SUIT,
  "in-toto": WireAttachmentKind.IN_TOTO,
};

const stateValues = {
  DRAFT: FirmwareState.DRAFT,
  UPLOADED: FirmwareState.UPLOADED,
  RELEASED: FirmwareState.RELEASED,
} as const satisfies Record<FirmwareUpdateRow["state"], FirmwareState>;

const stateNames: ReadonlyMap<FirmwareState, FirmwareUpdateRow["state"]> = new Map([
  [FirmwareState.DRAFT, "DRAFT"],
  [FirmwareState.UPLOADED, "UPLOADED"],
  [FirmwareState.RELEASED, "RELEASED"],
]);
