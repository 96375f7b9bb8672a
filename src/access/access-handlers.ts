import { AccessService } from "../../gen/ota/v1/access_service_pb.js";
import { apiCalls, type Endpoint, unary } from "../api/pipeline/endpoint.ts";
import { actorOf } from "../call/identity.ts";
import { listPage } from "../call/list-page.ts";
import type { PageTokens } from "../call/page-token.ts";
import { dateOf, timeRange } from "../call/request-date.ts";
import { type Scope, scopeOf } from "../call/scope.ts";
import { fromWireRole, wireRole } from "../call/wire-role.ts";
import { invalidArgument } from "../errors.ts";
import type { HeavyReads } from "../infra/database/heavy-reads.ts";
import {
  auditEventMessage,
  auditPlace,
  auditVerdictMessage,
  enrolmentKeyMessage,
  keyRoleOf,
  requirementMessage,
  signingKeyMessage,
  tokenMessage,
} from "./access-messages.ts";
import { auditListFilter } from "./audit-filter.ts";
import type { AuditLog } from "./audit-log.ts";
import { verifyAuditLog } from "./audit-verification.ts";
import type { EnrolmentKeys } from "./enrolment-keys.ts";
import type { OperatorTokens } from "./operator-tokens.ts";
import type { SignatureRequirements } from "./signature-requirements.ts";
import { type SigningKeys, signingKeyPosition } from "./signing-keys.ts";

/** What the handlers of AccessService call. */
export interface AccessParts {
  readonly tokens: OperatorTokens;
  readonly enrolmentKeys: EnrolmentKeys;
  readonly signingKeys: SigningKeys;
  readonly requirements: SignatureRequirements;
  readonly audit: AuditLog;
  readonly heavyReads: HeavyReads;
  readonly pageTokens: PageTokens;
  /** The settings that are in force. */
  readonly settings: readonly SettingInForce[];
}

/** A setting as operators may see it. */
interface SettingInForce {
  /** The environment variable. */
  readonly name: string;
  /** `(set)` for a secret that is set. */
  readonly value: string;
  /** Empty if it has none. */
  readonly defaultValue: string;
  /** Whether somebody set it. */
  readonly set: boolean;
  readonly description: string;
}

/** The endpoints of AccessService. */
export function accessEndpoints(parts: AccessParts): Endpoint[] {
  return [
    whoAmI(),
    ...tokenEndpoints(parts),
    ...enrolmentKeyEndpoints(parts),
    ...signingKeyEndpoints(parts),
    ...requirementEndpoints(parts),
    audit(parts),
    verifyAudit(parts),
    listSettings(parts),
  ];
}

function whoAmI(): Endpoint {
  return unary(AccessService.method.whoAmI, apiCalls, async (_, { identity }) => ({
    actor: actorOf(identity),
    ...(identity.kind === "operator"
      ? { role: wireRole(identity.role), ...scopeMessage(identity.scope) }
      : {}),
    ...(identity.kind === "device" ? { deviceId: identity.deviceId } : {}),
  }));
}

function tokenEndpoints({ tokens, pageTokens }: AccessParts): Endpoint[] {
  return [
    unary(AccessService.method.createToken, apiCalls, async (request, { identity }) => {
      const { token, secret } = await tokens.create({
        actor: actorOf(identity),
        requestId: request.requestId || undefined,
        name: request.name,
        owner: request.owner || undefined,
        role: fromWireRole(request.role) ?? "viewer",
        scope: scopeOf(request.products, request.deviceFilter.trim()),
        expiresAt: dateOf(request.expireTime),
      });
      return { token: tokenMessage(token), secret };
    }),
    unary(AccessService.method.listTokens, apiCalls, async (request) => {
      const page = await listPage(pageTokens, request, "tokens", {
        list: (position) => tokens.list(position),
        keyOf: (token) => token.id,
      });
      return { tokens: page.rows.map(tokenMessage), nextPageToken: page.nextPageToken };
    }),
    unary(AccessService.method.revokeToken, apiCalls, async ({ id, reason }, { identity }) => ({
      token: tokenMessage(await tokens.revoke({ actor: actorOf(identity), id, reason })),
    })),
  ];
}

function enrolmentKeyEndpoints({ enrolmentKeys, pageTokens }: AccessParts): Endpoint[] {
  return [
    unary(AccessService.method.createEnrolmentKey, apiCalls, async (request, { identity }) => {
      if (request.maxUses > maxCount) throw invalidArgument("max_uses", `must be at most ${maxCount}`);
      const { key, secret } = await enrolmentKeys.create({
        actor: actorOf(identity),
        requestId: request.requestId || undefined,
        name: request.name,
        maxUses: Number(request.maxUses),
        deviceTypes: request.deviceTypes,
        serialNumberPatterns: request.serialNumberPatterns,
        serialNumbers: request.serialNumbers,
        requireApproval: request.requireApproval,
        expiresAt: dateOf(request.expireTime),
      });
      return { key: enrolmentKeyMessage(key), secret };
    }),
    unary(AccessService.method.listEnrolmentKeys, apiCalls, async (request) => {
      const page = await listPage(pageTokens, request, "enrolment_keys", {
        list: (position) => enrolmentKeys.list(position),
        keyOf: (key) => key.id,
      });
      return { keys: page.rows.map(enrolmentKeyMessage), nextPageToken: page.nextPageToken };
    }),
    unary(AccessService.method.revokeEnrolmentKey, apiCalls, async ({ id, reason }, { identity }) => ({
      key: enrolmentKeyMessage(await enrolmentKeys.revoke({ actor: actorOf(identity), id, reason })),
    })),
  ];
}

function signingKeyEndpoints({ signingKeys, pageTokens }: AccessParts): Endpoint[] {
  return [
    unary(AccessService.method.registerSigningKey, apiCalls, async (request, { identity }) => {
      const { name, publicKeyPem } = request;
      const role = keyRoleOf(request.role);
      const expiresAt = dateOf(request.expireTime);
      const actor = actorOf(identity);
      return {
        key: signingKeyMessage(await signingKeys.register({ actor, name, publicKeyPem, role, expiresAt })),
      };
    }),
    unary(AccessService.method.updateSigningKey, apiCalls, async (request, { identity }) => {
      const { id, reason } = request;
      const role = keyRoleOf(request.role);
      const expiresAt = dateOf(request.expireTime);
      return {
        key: signingKeyMessage(
          await signingKeys.update({ actor: actorOf(identity), id, reason, role, expiresAt }),
        ),
      };
    }),
    unary(AccessService.method.listSigningKeys, apiCalls, async (request) => {
      const page = await listPage(pageTokens, request, "signing_keys", {
        list: (position) => signingKeys.list(position),
        keyOf: signingKeyPosition,
      });
      return { keys: page.rows.map(signingKeyMessage), nextPageToken: page.nextPageToken };
    }),
    unary(AccessService.method.revokeSigningKey, apiCalls, async ({ id, reason }, { identity }) => {
      const { key, pausedRollouts } = await signingKeys.revoke({ actor: actorOf(identity), id, reason });
      return { key: signingKeyMessage(key), pausedRolloutCount: pausedRollouts };
    }),
  ];
}

function requirementEndpoints({ requirements, pageTokens }: AccessParts): Endpoint[] {
  return [
    unary(AccessService.method.setSignatureRequirement, apiCalls, async (request, { identity }) => {
      const { product, releaseSignatures: release, securitySignatures: security, reason } = request;
      const cause = { actor: actorOf(identity), reason };
      const row = await requirements.set({ product, release, security }, cause);
      return row === undefined ? {} : { requirement: requirementMessage(row) };
    }),
    unary(AccessService.method.listSignatureRequirements, apiCalls, async (request) => {
      const page = await listPage(pageTokens, request, "signature_requirements", {
        list: (position) => requirements.list(position),
        keyOf: ({ product }) => product,
      });
      return { requirements: page.rows.map(requirementMessage), nextPageToken: page.nextPageToken };
    }),
  ];
}

function audit({ audit, pageTokens }: AccessParts): Endpoint {
  return unary(AccessService.method.listAuditEvents, apiCalls, async (request) => {
    const { resourceId, action, actor, resourceType } = request;
    const { from: startAt, to: endAt } = timeRange(request);
    const matching = auditListFilter.read(request.filter);
    const filter = { resourceId, action, actor, resourceType, startAt, endAt, matching };
    const page = await listPage(
      pageTokens,
      request,
      { list: "audit_events", ...filter },
      { list: (position) => audit.list(filter, position), keyOf: (event) => event.id },
    );
    return { events: page.rows.map(auditEventMessage), nextPageToken: page.nextPageToken };
  });
}

function verifyAudit({ heavyReads }: AccessParts): Endpoint {
  return unary(AccessService.method.verifyAuditLog, apiCalls, async (request, { identity, signal }) => {
    const session = heavyReads.for({ signal, alone: `audit ${actorOf(identity)}` });
    const after = request.after && auditPlace(request.after);
    const anchors = request.anchors.map(auditPlace);
    return auditVerdictMessage(await verifyAuditLog(session, { after, anchors, limit: verifiedLinks }));
  });
}

/** The most links that one call verifies: some seconds of work. */
const verifiedLinks = 20_000;

function listSettings({ settings }: AccessParts): Endpoint {
  return unary(AccessService.method.listSettings, apiCalls, async () => ({
    settings: settings.map(({ name, value, defaultValue, set, description }) => ({
      name,
      value,
      defaultValue,
      set,
      description,
    })),
  }));
}

function scopeMessage(scope: Scope | undefined) {
  return scope === undefined ? {} : { products: [...scope.products], deviceFilter: scope.deviceFilter };
}

/** What a JavaScript number counts exactly. */
const maxCount = BigInt(Number.MAX_SAFE_INTEGER);
