import type { MessageInitShape } from "@bufbuild/protobuf";
import { type Timestamp, timestampFromDate } from "@bufbuild/protobuf/wkt";
import {
  type AuditEventSchema,
  AuditFaultKind,
  type AuditPlace,
  type EnrolmentKeySchema,
  type OperatorTokenSchema,
  type SignatureRequirementSchema,
  SigningKeyRole,
  type SigningKeySchema,
} from "../../gen/ota/v1/access_pb.js";
import type { VerifyAuditLogResponseSchema } from "../../gen/ota/v1/access_service_pb.js";
import { wireRole } from "../call/wire-role.ts";
import { type KeyRole, keyRoles } from "../manifest/required-signatures.ts";
import { algorithmOf } from "../manifest/signature.ts";
import type { AuditEventRow } from "./audit-event.entity.ts";
import type { ChainPlace } from "./audit-hash.ts";
import type { AuditVerdict } from "./audit-verification.ts";
import type { EnrolmentKeyRow } from "./enrolment-key.entity.ts";
import type { OperatorTokenRow } from "./operator-token.entity.ts";
import type { SignatureRequirementRow } from "./signature-requirement.entity.ts";
import type { SigningKeyRow } from "./signing-key.entity.ts";

/** A token on the wire, without its secret. */
export function tokenMessage(token: OperatorTokenRow): MessageInitShape<typeof OperatorTokenSchema> {
  return {
    id: token.id,
    name: token.name,
    owner: token.owner,
    products: token.products,
    deviceFilter: token.deviceFilter,
    role: wireRole(token.role),
    createTime: timestampFromDate(token.createdAt),
    creator: token.creator,
    ...(token.lastUsedAt === null ? {} : { lastUseTime: timestampFromDate(token.lastUsedAt) }),
    ...lifetime(token),
  };
}

/** An enrolment key on the wire, without its secret. */
export function enrolmentKeyMessage(key: EnrolmentKeyRow): MessageInitShape<typeof EnrolmentKeySchema> {
  return {
    id: key.id,
    name: key.name,
    maxUses: BigInt(key.maxUses),
    useCount: BigInt(key.useCount),
    deviceTypes: key.deviceTypes,
    requireApproval: key.requireApproval,
    serialNumberPatterns: key.serialNumberPatterns,
    serialNumberCount: key.serialNumberCount,
    createTime: timestampFromDate(key.createdAt),
    ...lifetime(key),
  };
}

/** A signing key on the wire. */
export function signingKeyMessage(key: SigningKeyRow): MessageInitShape<typeof SigningKeySchema> {
  return {
    id: key.id,
    name: key.name,
    algorithm: key.algorithm,
    signatureAlgorithm: algorithmOf(key.publicKeyPem),
    publicKeyPem: key.publicKeyPem,
    role: wireKeyRole(key.role),
    createTime: timestampFromDate(key.createdAt),
    ...lifetime(key),
  };
}

/** A signing key's role from the wire; undefined if it says none. */
export function keyRoleOf(wire: SigningKeyRole): KeyRole | undefined {
  return keyRoles.find((role) => keyRoleValues[role] === wire);
}

/** A signing key's role on the wire. */
export function wireKeyRole(role: KeyRole): SigningKeyRole {
  return keyRoleValues[role];
}

/** What a product asks for, on the wire. */
export function requirementMessage(
  row: SignatureRequirementRow,
): MessageInitShape<typeof SignatureRequirementSchema> {
  const { product, releaseSignatures, securitySignatures, updatedAt } = row;
  return { product, releaseSignatures, securitySignatures, updateTime: timestampFromDate(updatedAt) };
}

/** An audit event on the wire. */
export function auditEventMessage(event: AuditEventRow): MessageInitShape<typeof AuditEventSchema> {
  return {
    id: event.id,
    time: timestampFromDate(event.occurredAt),
    actor: event.actor,
    action: event.action,
    resourceType: event.resourceType,
    resourceId: event.resourceId,
    reason: event.reason ?? "",
    details: event.details,
    address: event.address ?? "",
    requestId: event.requestId ?? "",
  };
}

const keyRoleValues: Readonly<Record<KeyRole, SigningKeyRole>> = {
  release: SigningKeyRole.RELEASE,
  security: SigningKeyRole.SECURITY,
  test: SigningKeyRole.TEST,
};

/** A place of the audit log's chain from the wire, where the contract's rules have refused everything that is none. */
export function auditPlace({ sequence, hash }: AuditPlace): ChainPlace {
  return { sequence: Number(sequence), hash };
}

/** What was found in the audit log, on the wire. */
export function auditVerdictMessage({
  through,
  checked,
  complete,
  fault,
}: AuditVerdict): MessageInitShape<typeof VerifyAuditLogResponseSchema> {
  return {
    ...(through.sequence === 0
      ? {}
      : { through: { sequence: BigInt(through.sequence), hash: through.hash } }),
    checkedCount: checked,
    complete,
    ...(fault === undefined
      ? {}
      : {
          fault: {
            kind: AuditFaultKind[fault.kind],
            sequence: BigInt(fault.sequence),
            eventId: fault.eventId,
          },
        }),
  };
}

function lifetime(row: { expiresAt: Date | null; revokedAt: Date | null }): {
  expireTime?: Timestamp;
  revokeTime?: Timestamp;
} {
  return {
    ...(row.expiresAt === null ? {} : { expireTime: timestampFromDate(row.expiresAt) }),
    ...(row.revokedAt === null ? {} : { revokeTime: timestampFromDate(row.revokedAt) }),
  };
}
