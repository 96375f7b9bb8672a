import { LockMode } from "@mikro-orm/core";
import type { EntityManager } from "@mikro-orm/postgresql";
import type { AuditLog } from "../../access/audit-log.ts";
import type { DeviceCredentials, DeviceToken } from "../../access/device-credentials.ts";
import type { EnrolmentKeys } from "../../access/enrolment-keys.ts";
import { deviceBlocked } from "../../call/bearer.ts";
import type { ShownCertificate } from "../../call/client-certificate.ts";
import { illegalTransition, OtaError } from "../../errors.ts";
import type { Clock } from "../../infra/clock.ts";
import type { Database } from "../../infra/database/database.ts";
import type { IdempotencyKeys } from "../../infra/database/idempotency-keys.ts";
import { requestDigest } from "../../infra/database/request-digest.ts";
import type { DeviceMetrics } from "../../infra/metrics.ts";
import { Turns } from "../../infra/turns.ts";
import { keyFor } from "../keys/key-proof.ts";
import type { PublicKey } from "../keys/public-key.ts";
import type { SignedTokenRules } from "../keys/signed-token.ts";
import { DeviceEntity, type DeviceRow } from "../state/device.entity.ts";
import type { DeviceChange, DeviceChanges } from "../state/device-changes.ts";
import { forgetState } from "../state/replaced-state.ts";
import { type Admittance, type CertificateEnrolment, certificateFor } from "./enrolment-by-certificate.ts";
import { duplicate, retiredMeanwhile } from "./enrolment-refusals.ts";
import { type EnrolmentMark, isRetry } from "./enrolment-retry.ts";
import { requireForgotten } from "./forgotten-device.ts";
import type { DeviceIdentityObserver } from "./identity-observer.ts";
import { insertDevice, requireNames, requireStorable } from "./new-device.ts";
import { requireNotRetired } from "./retired-serial.ts";

/** What a device says of itself when it enrols. */
export interface EnrolmentRequest {
  /** The device's UUID of this try. */
  readonly requestId: string;
  /** The address that it comes from. */
  readonly source: string;
  /** What it showed when the connection began. */
  readonly certificate?: ShownCertificate | undefined;
  /** The secret of an enrolment key; empty if it comes by its certificate. */
  readonly enrolmentKey: string;
  readonly serialNumber: string;
  readonly deviceType: string;
  readonly hardwareModel: string;
  /** The product that it runs; empty if it does not say. */
  readonly product: string;
  readonly firmwareVersion: string;
  readonly metadata: Readonly<Record<string, string>>;
  /** Its own public key, and the proof that it has the private half; empty if it wants a token. */
  readonly publicKey: string;
  readonly keyProof: string;
  /** The id that it had, if it is to be enrolled only where nobody knows that one; empty if it does not matter. */
  readonly formerDeviceId: string;
}

/** A device as an operator registers it. */
export interface RegistrationRequest {
  /** Who asks, as the audit log names callers. */
  readonly actor: string;
  readonly requestId: string;
  readonly serialNumber: string;
  readonly deviceType: string;
  readonly hardwareModel: string;
  /** The product that it runs; empty if nobody says. */
  readonly product: string;
  readonly displayName: string;
  readonly groups: readonly string[];
  readonly metadata: Readonly<Record<string, string>>;
}

/** A device that may speak from now on. */
export interface AdmittedDevice extends DeviceToken {
  readonly deviceId: string;
  /** Its bearer token, which is stored nowhere; empty if its certificate or its own key is its credential. */
  readonly token: string;
  /** Whether it was never here before, so that nothing else is known of it. */
  readonly isNew: boolean;
}

/** A device that enrolled by itself. */
export interface EnrolledDevice extends AdmittedDevice {
  /** The epoch that its heartbeats are counted in, from 1. */
  readonly epoch: number;
  /** The highest sequence of that epoch that is stored. */
  readonly durableSequence: number;
}

/** Where the heartbeats of devices are counted. */
interface HeartbeatMarks {
  current(em: EntityManager, deviceId: string): Promise<Mark>;
  /** Begins an epoch that the device never used. */
  begin(em: EntityManager, deviceId: string): Promise<Mark & { readonly heardBefore: boolean }>;
}

type Mark = Pick<EnrolledDevice, "epoch" | "durableSequence">;

/** What {@link DeviceEnrolment} is made of. */
export interface DeviceEnrolmentParts {
  readonly database: Pick<Database, "transact">;
  readonly idempotency: IdempotencyKeys;
  readonly keys: EnrolmentKeys;
  readonly credentials: DeviceCredentials;
  readonly audit: AuditLog;
  readonly changes: DeviceChanges;
  readonly marks: HeartbeatMarks;
  readonly identity: readonly DeviceIdentityObserver[];
  readonly metrics: Pick<DeviceMetrics, "enrolmentsRefused">;
  readonly clock: Clock;
  /** What certificates are worth here; undefined where nobody is asked for one. */
  readonly certificates?: CertificateEnrolment | undefined;
  /** What is asked of what devices sign. */
  readonly signedTokens: SignedTokenRules;
  /** For how long a device whose answer got lost may repeat its enrolment, in milliseconds. */
  readonly retryMs: number;
}

/** How devices come into the fleet: by themselves with an enrolment key, or registered by an operator. */
export class DeviceEnrolment {
  readonly #parts: DeviceEnrolmentParts;
  readonly #turns = new Turns(enrolmentTurns);

  constructor(parts: DeviceEnrolmentParts) {
    this.#parts = parts;
  }

  /**
   * Enrols a device, by a key or, where that is allowed, by its certificate alone. The serial number is its natural key: a retry (see {@link isRetry}) gets the same device with a fresh
   * credential, while the lost one stops working; a device that an operator reset a while ago enrols again, once, as the same
   * device, whatever board it is now: its heartbeats are counted anew, and what the board before had said of itself is
   * forgotten. A crowd waits in order. Throws `ENROLMENT_KEY_INVALID`, `ENROLMENT_KEY_EXHAUSTED`,
   * `SERIAL_NUMBER_NOT_ALLOWED`, `DUPLICATE`, `DEVICE_RETIRED`,
   * `DEVICE_BLOCKED`, `DEVICE_KNOWN` for one that was not forgotten, `CALLERS_DIFFER` for a certificate that names another serial number,
   * `KEY_PROOF_INVALID`, `TOKEN_TIME_WRONG`, `REQUEST_ID_REUSED` for a retry that differs, `INVALID_VERSION`, or `QUEUE_FULL` if the crowd is too large.
   */
  async enrol(request: EnrolmentRequest, signal?: AbortSignal): Promise<EnrolledDevice> {
    try {
      requireNames(request);
      requireStorable(request.firmwareVersion);
      const key = await keyFor(request, this.#parts.signedTokens, this.#parts.clock.now());
      return await this.#turns.run(async () => this.#finish(await this.#admit({ ...request, key })), signal);
    } catch (error) {
      if (error instanceof OtaError) this.#parts.metrics.enrolmentsRefused.labels(error.reason).inc();
      throw error;
    }
  }

  /**
   * Registers a device on its behalf. A repeat with the same request id gets the same device with a fresh credential, and
   * the lost one stops working. Throws `DUPLICATE` for a serial number that is in service, or `REQUEST_ID_REUSED`.
   */
  async register(request: RegistrationRequest): Promise<AdmittedDevice> {
    const { idempotency, credentials, audit } = this.#parts;
    requireNames(request);
    const { actor, requestId, ...body } = request;
    const key = {
      caller: actor,
      method: "ota.v1.DeviceService/RegisterDevice",
      requestId,
      requestDigest: requestDigest(body),
    };
    const admission = await this.#transaction(async (em) => {
      const outcome = await idempotency.once(em, key, async () => {
        const id = await insertDevice(em, {
          ...request,
          firmwareVersion: undefined,
          keyId: null,
          mark: undefined,
          quarantinedAt: undefined,
        });
        if (id === undefined) throw duplicate(request.serialNumber);
        return id;
      });
      const deviceId = outcome.resourceId;
      if (outcome.repeated && (await em.findOne(DeviceEntity, deviceId)) === null) {
        throw illegalTransition("device", "register", "retired", []);
      }
      const replaced = await credentials.revokeAll(em, deviceId, "its registration was repeated");
      const token = await credentials.issue(em, deviceId);
      await audit.record(em, {
        actor,
        action: outcome.repeated ? "device.reissue_credential" : "device.register",
        resourceType: "device",
        resourceId: deviceId,
        details: { serial_number: request.serialNumber, device_type: request.deviceType },
      });
      const change = outcome.repeated ? "credentials_revoked" : undefined;
      return { deviceId, ...token, isNew: !outcome.repeated, replaced, change } as const;
    });
    return this.#finish(admission);
  }

  async #admit(request: ProvenRequest): Promise<Admission & Mark> {
    const mark = this.#markOf(request);
    return await this.#transaction(async (em) => {
      const admittance = await this.#admittance(em, request);
      // Only whoever may enrol is told whether there is, or was, a device of an id.
      await requireForgotten(em, request.formerDeviceId);
      const { keyId } = admittance;
      const quarantinedAt = admittance.requireApproval ? mark.at : undefined;
      const newcomer = { ...request, displayName: "", groups: [], keyId, mark, quarantinedAt };
      const deviceId = await insertDevice(em, newcomer);
      if (deviceId !== undefined) await requireNotRetired(em, request.serialNumber, mark.at);
      if (deviceId !== undefined) return await this.#admitNew(em, request, deviceId, keyId);
      const known = await em.findOne(
        DeviceEntity,
        { serialNumber: request.serialNumber },
        { lockMode: LockMode.PESSIMISTIC_WRITE },
      );
      if (known === null) throw retiredMeanwhile(request.serialNumber);
      if (known.blockedAt !== null) throw deviceBlocked();
      if (isRetry(known, { mark, keyId, retryMs: this.#parts.retryMs })) {
        return await this.#admitRetry(em, request, known);
      }
      if (known.enrolUntil === null || known.enrolUntil <= mark.at) throw duplicate(request.serialNumber);
      return await this.#admitAgain(em, request, known, { admittance, mark });
    });
  }

  async #admittance(em: EntityManager, request: EnrolmentRequest): Promise<Admittance> {
    const { certificates, keys } = this.#parts;
    const certificate = certificateFor(request, certificates);
    const sha256 = certificate?.sha256;
    if (request.enrolmentKey === "")
      return { keyId: null, requireApproval: certificates?.enrol === "approval", sha256 };
    const { id, requireApproval } = await keys.check(em, request.enrolmentKey, request);
    return { keyId: id, requireApproval, sha256 };
  }

  /** The device's token; whoever has a key of its own, or enrolled by its certificate, has none that could be stolen. */
  async #token(
    em: EntityManager,
    deviceId: string,
    { key, keyId }: { readonly key: PublicKey | undefined; readonly keyId: string | null | undefined },
  ): Promise<DeviceToken> {
    if (key !== undefined) await this.#parts.credentials.setKey(em, deviceId, key.spki);
    const needsToken = key === undefined && keyId !== null && keyId !== undefined;
    return needsToken ? await this.#parts.credentials.issue(em, deviceId) : noToken;
  }

  #markOf(request: ProvenRequest): EnrolmentMark {
    const { requestId, source, key, ...said } = request;
    // The secret is no part of what is kept, for the key is compared by its id; a certificate may be renewed meanwhile, and a proof
    // is made anew.
    const digest = requestDigest({
      ...said,
      enrolmentKey: undefined,
      certificate: undefined,
      keyProof: undefined,
      // How it came to ask says nothing of what it is.
      formerDeviceId: undefined,
      publicKey: key?.thumbprint,
    });
    return { requestId, source, digest, at: this.#parts.clock.now() };
  }

  async #transaction<T>(work: (em: EntityManager) => Promise<T>): Promise<T> {
    return await this.#parts.database.transact(work, { retry: { attempts: 5 } });
  }

  async #admitNew(
    em: EntityManager,
    request: ProvenRequest,
    id: string,
    keyId: string | null,
  ): Promise<Admission & Mark> {
    const token = await this.#token(em, id, { key: request.key, keyId });
    await this.#record(em, "device.enrol", id, request, keyId);
    if (keyId !== null) await this.#parts.keys.use(em, keyId);
    return { deviceId: id, ...token, isNew: true, replaced: [], change: undefined, ...firstMark };
  }

  async #admitRetry(em: EntityManager, request: ProvenRequest, device: DeviceRow): Promise<Admission & Mark> {
    const replaced = await this.#parts.credentials.revokeAll(em, device.id, "its enrolment was retried");
    const token = await this.#token(em, device.id, { key: request.key, keyId: device.enrolmentKeyId });
    await this.#record(em, "device.reissue_credential", device.id, request, device.enrolmentKeyId);
    const mark = await this.#parts.marks.current(em, device.id);
    return { deviceId: device.id, ...token, isNew: false, replaced, change: "credentials_revoked", ...mark };
  }

  async #admitAgain(
    em: EntityManager,
    request: ProvenRequest,
    device: DeviceRow,
    { admittance, mark: enrolment }: { readonly admittance: Admittance; readonly mark: EnrolmentMark },
  ): Promise<Admission & Mark> {
    for (const observer of this.#parts.identity) await observer.boardReplaced(em, device.id);
    // The key counts devices, and this one it has counted already.
    const { keyId, requireApproval, sha256 } = admittance;
    const counted = keyId === null || device.enrolmentKeyId === keyId;
    device.deviceType = request.deviceType;
    device.hardwareModel = request.hardwareModel;
    device.product = request.product;
    device.boardSince = enrolment.at;
    device.enrolmentKeyId = keyId;
    device.enrolRequestId = enrolment.requestId;
    device.enrolledAt = enrolment.at;
    device.enrolSource = enrolment.source;
    device.enrolDigest = enrolment.digest;
    // Once: whoever comes after this one needs an operator's leave again.
    device.enrolUntil = null;
    if (requireApproval) device.quarantinedAt ??= enrolment.at;
    device.certificateSha256 = sha256 ?? null;
    // What an operator noted stays unless the device says otherwise.
    device.metadata = { ...device.metadata, ...request.metadata };
    // What the client of the board before could do says nothing of this one.
    device.reported = { firmwareVersion: request.firmwareVersion };
    await em.flush();
    const { heardBefore, ...mark } = await this.#parts.marks.begin(em, device.id);
    await forgetState(em, {
      deviceId: device.id,
      firmwareVersion: request.firmwareVersion,
      epoch: mark.epoch,
      heardBefore,
    });
    const replaced = await this.#parts.credentials.revokeAll(em, device.id, "it enrolled again");
    const token = await this.#token(em, device.id, { key: request.key, keyId });
    await this.#record(em, "device.enrol_again", device.id, request, keyId);
    if (!counted) await this.#parts.keys.use(em, keyId);
    return { deviceId: device.id, ...token, isNew: false, replaced, change: "updated", ...mark };
  }

  async #record(
    em: EntityManager,
    action: string,
    deviceId: string,
    request: ProvenRequest,
    keyId: string | null | undefined,
  ): Promise<void> {
    await this.#parts.audit.record(em, {
      actor: `device:${deviceId}`,
      action,
      resourceType: "device",
      resourceId: deviceId,
      details: {
        serial_number: request.serialNumber,
        device_type: request.deviceType,
        hardware_model: request.hardwareModel,
        enrolment_key_id: keyId ?? "",
        ...certificateDetail(request.certificate),
        ...(request.key === undefined ? {} : { key_thumbprint: request.key.thumbprint }),
      },
    });
  }

  #finish<T extends Admission>({ replaced, change, ...admitted }: T): Omit<T, "replaced" | "change"> {
    this.#parts.credentials.forget(replaced);
    if (change !== undefined) this.#parts.changes.publish({ deviceId: admitted.deviceId, kind: change });
    return admitted;
  }
}

function certificateDetail(shown: ShownCertificate | undefined): Record<string, string> {
  return shown === undefined || "refused" in shown
    ? {}
    : { certificate_sha256: shown.sha256.toString("hex") };
}

/** An enrolment whose device has the private half of the key that it names, if it names one. */
type ProvenRequest = EnrolmentRequest & { readonly key: PublicKey | undefined };

/** Of a device that was never here. */
const firstMark: Mark = { epoch: 1, durableSequence: 0 };

/**
 * A crowd that enrols takes half of the ORM's connections; more would not be faster, for its transactions wait for each
 * other at the count of their key. Two thousand are served within the half minute that a device waits for its answer.
 */
const enrolmentTurns = { atOnce: 3, maxWaiting: 2_000, what: "enrolments", retryAfterMs: 5_000 };

interface Admission extends AdmittedDevice {
  /** Hashes of the credentials that no longer work. */
  readonly replaced: readonly Uint8Array[];
  /** What to announce; nothing of a new device, which nobody remembers yet. */
  readonly change: DeviceChange["kind"] | undefined;
}

const noToken: DeviceToken = { token: "", tokenExpiresAt: undefined };
