import { type EntityManager, type FilterQuery, LockMode } from "@mikro-orm/postgresql";
import { SigningKeyEntity, type SigningKeyRow } from "../access/signing-key.entity.ts";
import { notFound } from "../errors.ts";
import { ormCondition } from "../infra/database/orm-condition.ts";
import { sessionOf } from "../infra/database/session.ts";
import { inFixedEncoding, type SignatureAlgorithm } from "../manifest/signature.ts";
import { canonicalVersion } from "../version/semantic-version.ts";
import type { Firmware, FirmwareFilter } from "./firmware.ts";
import { FirmwareAttachmentEntity } from "./firmware-attachment.entity.ts";
import { FirmwareSignatureEntity, type FirmwareSignatureRow } from "./firmware-signature.entity.ts";
import { FirmwareUpdateEntity, type FirmwareUpdateRow } from "./firmware-update.entity.ts";
import { type Recall, readRecalls } from "./recalls.ts";

/** Includes what is deleted. */
export const withDeleted = { filters: { notDeleted: false } } as const;

/** Loads a firmware that is not deleted and locks its row until the transaction ends. `NOT_FOUND` if there is none. */
export async function lockFirmware(em: EntityManager, id: string): Promise<FirmwareUpdateRow> {
  const row = await em.findOne(
    FirmwareUpdateEntity,
    { id },
    { lockMode: LockMode.PESSIMISTIC_WRITE, refresh: true },
  );
  if (row === null) throw notFound("firmware", id);
  return row;
}

/** Rows as firmware, with what other tables say of it: its signatures, and whether it is recalled. In the order of the rows. */
export async function firmwareOf(em: EntityManager, rows: readonly FirmwareUpdateRow[]): Promise<Firmware[]> {
  if (rows.length === 0) return [];
  const ids = rows.map(({ id }) => id);
  const signatures = await em.find(
    FirmwareSignatureEntity,
    { firmwareId: { $in: ids } },
    { orderBy: { id: "asc" } },
  );
  const byFirmware = Map.groupBy(signatures, ({ firmwareId }) => firmwareId);
  const attachments = await em.find(
    FirmwareAttachmentEntity,
    { firmwareId: { $in: ids } },
    { orderBy: { id: "asc" } },
  );
  const attachedTo = Map.groupBy(attachments, ({ firmwareId }) => firmwareId);
  const keys = await readKeys(em, new Set(signatures.map(({ keyId }) => keyId)));
  const recalls = await readRecalls(sessionOf(em), { firmwareIds: ids });
  const recallOf = new Map(recalls.map((recall) => [recall.firmwareId, recall]));
  return rows.map((row) => ({
    ...toFirmware(row, byFirmware.get(row.id) ?? [], keys, recallOf.get(row.id)),
    attachments: attachedTo.get(row.id) ?? [],
  }));
}

/** What is told of the key of a signature. */
type SignatureKey = Pick<SigningKeyRow, "name" | "role" | "expiresAt" | "revokedAt">;

async function readKeys(
  em: EntityManager,
  ids: ReadonlySet<string>,
): Promise<ReadonlyMap<string, SignatureKey>> {
  if (ids.size === 0) return new Map();
  // As they are now: a revocation that another transaction made must show.
  const keys = await em.find(SigningKeyEntity, { id: { $in: [...ids] } }, { refresh: true });
  return new Map(keys.map((key) => [key.id, key]));
}

function toFirmware(
  row: FirmwareUpdateRow,
  signatures: readonly FirmwareSignatureRow[],
  keys: ReadonlyMap<string, SignatureKey>,
  recall: Recall | undefined,
): Omit<Firmware, "attachments"> {
  return {
    id: row.id,
    product: row.product,
    version: row.version,
    reportedVersions: row.reportedVersions,
    state: row.state,
    deviceTypes: row.deviceTypes,
    hardwareModels: row.hardwareModels,
    minBatteryPercent: row.minBatteryPercent,
    minFreeStorageBytes: row.minFreeStorageBytes,
    minCurrentVersion: row.minCurrentVersion,
    releaseNotes: row.releaseNotes,
    metadata: row.metadata,
    sha256: row.sha256,
    sizeBytes: row.sizeBytes,
    securityCounter: row.securityCounter,
    securityFix: row.securityFix,
    kind: row.kind,
    component: row.component,
    mandatoryStep: row.mandatoryStep,
    manifest: row.manifest ?? undefined,
    signatures: signatures.map(({ keyId, algorithm, signature, createdAt }) => ({
      keyId,
      algorithm: algorithm as SignatureAlgorithm,
      signature: inFixedEncoding(algorithm as SignatureAlgorithm, signature),
      keyName: keys.get(keyId)?.name ?? "",
      verifiedAt: createdAt,
      keyRevoked: (keys.get(keyId)?.revokedAt ?? null) !== null,
      keyRole: keys.get(keyId)?.role ?? "test",
      keyExpiresAt: keys.get(keyId)?.expiresAt ?? undefined,
    })),
    expiresAt: row.expiresAt ?? undefined,
    createdAt: row.createdAt,
    updatedAt: row.updatedAt,
    releasedAt: row.releasedAt ?? undefined,
    deletedAt: row.deletedAt ?? undefined,
    damagedAt: row.damagedAt ?? undefined,
    recall,
  };
}

/** The firmware that a filter matches, after the id `after` of a list that begins with the newest. */
export function firmwareWhere(
  filter: FirmwareFilter,
  after: string | undefined,
): FilterQuery<FirmwareUpdateRow> {
  const { product, version, deviceType, hardwareModel, states, matching } = filter;
  return {
    ...(product === undefined ? {} : { product }),
    ...(version === undefined ? {} : { $and: [named(version)] }),
    ...(deviceType === undefined ? {} : { deviceTypes: { $contains: [deviceType] } }),
    ...(states.length === 0 ? {} : { state: { $in: [...states] } }),
    ...(after === undefined ? {} : { id: { $lt: after } }),
    ...(matching === undefined ? {} : ormCondition(matching)),
    ...(hardwareModel === undefined
      ? {}
      : {
          $or: [{ hardwareModels: { $contains: [hardwareModel] } }, { hardwareModels: { $contained: [] } }],
        }),
  };
}

/** Of this version, or reported as it. */
function named(version: string) {
  const canonical = canonicalVersion(version) ?? version;
  return { $or: [{ version: canonical }, { reportedVersions: { $contains: [version] } }] };
}
