import type { ListCondition } from "../filter/list-filter.ts";
import type { KeyRole } from "../manifest/required-signatures.ts";
import type { SignatureAlgorithm } from "../manifest/signature.ts";
import type { FirmwareAttachmentRow } from "./firmware-attachment.entity.ts";
import type { FirmwareState, UpdateKind } from "./firmware-update.entity.ts";
import type { Recall } from "./recalls.ts";

/** A firmware as the service knows it. */
export interface Firmware extends FirmwareFields {
  readonly id: string;
  readonly state: FirmwareState;
  /** The signed manifest, byte for byte; `undefined` until signed. */
  readonly manifest: Uint8Array | undefined;
  readonly signatures: readonly FirmwareSignature[];
  /** The files beside it, which the manifest binds. */
  readonly attachments: readonly FirmwareAttachmentRow[];
  /** After this time it is no longer offered; from the manifest. */
  readonly expiresAt: Date | undefined;
  readonly createdAt: Date;
  readonly updatedAt: Date;
  readonly releasedAt: Date | undefined;
  readonly deletedAt: Date | undefined;
  /** Since when its stored content is known to be damaged or missing. */
  readonly damagedAt: Date | undefined;
  /** Set while no device may run it. */
  readonly recall?: Recall | undefined;
}

/** What an operator says of a firmware when it is created. Limits as in the contract. */
export interface FirmwareFields {
  readonly product: string;
  /** A canonical semantic version without build metadata, see `isCanonicalVersion`. */
  readonly version: string;
  /** Texts under which devices report it beside its version; unique within the product. */
  readonly reportedVersions: readonly string[];
  /** The device types that it is for, at least one. */
  readonly deviceTypes: readonly string[];
  /** The hardware models that it runs on; empty means every model. */
  readonly hardwareModels: readonly string[];
  /** 0: no rule. */
  readonly minBatteryPercent: number;
  /** 0: no rule. */
  readonly minFreeStorageBytes: number;
  /** Empty: from any version. */
  readonly minCurrentVersion: string;
  readonly releaseNotes: string;
  readonly metadata: Readonly<Record<string, string>>;
  /** SHA-256 of the content, 64 lower-case hexadecimal digits. */
  readonly sha256: string;
  readonly sizeBytes: number;
  readonly securityCounter: number;
  readonly securityFix: boolean;
  readonly kind: UpdateKind;
  /** The application's name on the device; empty for firmware. */
  readonly component: string;
  /** Whether older devices must install it before any newer version of its product. */
  readonly mandatoryStep: boolean;
}

/** A verified signature over a firmware's manifest. */
export interface FirmwareSignature {
  readonly keyId: string;
  readonly algorithm: SignatureAlgorithm;
  readonly signature: Uint8Array;
  readonly keyName: string;
  readonly verifiedAt: Date;
  /** Whether the key has been revoked since: the signature then counts no more. */
  readonly keyRevoked: boolean;
  readonly keyRole: KeyRole;
  /** From when on it counts no more. */
  readonly keyExpiresAt: Date | undefined;
}

/** What to change of a firmware; what is `undefined` stays. */
export interface FirmwareChange {
  readonly releaseNotes?: string | undefined;
  readonly minBatteryPercent?: number | undefined;
  readonly minFreeStorageBytes?: number | undefined;
  readonly metadata?: Readonly<Record<string, string>> | undefined;
  readonly minCurrentVersion?: string | undefined;
  readonly deviceTypes?: readonly string[] | undefined;
  readonly hardwareModels?: readonly string[] | undefined;
  readonly mandatoryStep?: boolean | undefined;
  readonly reportedVersions?: readonly string[] | undefined;
  /** The firmware is changed only if it still has it; undefined: in any case. */
  readonly etag?: string | undefined;
}

/** Which firmware to list; filters are combined with AND, and what is `undefined` does not filter. */
export interface FirmwareFilter {
  readonly product?: string | undefined;
  readonly version?: string | undefined;
  readonly deviceType?: string | undefined;
  /** Firmware without hardware models fits every model. */
  readonly hardwareModel?: string | undefined;
  /** Empty: any state. */
  readonly states: readonly FirmwareState[];
  readonly showDeleted: boolean;
  /** What an expression says beside. */
  readonly matching?: ListCondition | undefined;
}

/** A signature as an operator hands it in. */
export interface NewSignature {
  /** The exact bytes that were signed. */
  readonly manifest: Uint8Array;
  readonly keyId: string;
  readonly signature: Uint8Array;
}

/** A firmware as it is after a change. */
export interface FirmwareOutcome extends Firmware {
  /** Whether there was nothing to do, for it was so already. */
  readonly unchanged: boolean;
}
