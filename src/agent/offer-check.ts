import { timestampDate } from "@bufbuild/protobuf/wkt";
import { UpdateAction } from "../../gen/ota/v1/rollout_pb.js";
import type { Offer } from "../../gen/ota/v1/update_service_pb.js";
import { invalidArgument, OtaError } from "../errors.ts";
import type { Manifest } from "../manifest/manifest.ts";
import { missingSignatures, type RequiredSignatures } from "../manifest/required-signatures.ts";
import { thumbprint } from "../manifest/signature.ts";
import { type TrustedKey, verifyManifest } from "../manifest/verify-manifest.ts";
import { compareVersions } from "../version/compare-versions.ts";
import { isSemanticVersion } from "../version/semantic-version.ts";
import { AgentFailure } from "./agent-failure.ts";
import { checkOfferForm } from "./offer-form.ts";

/** Whom a device trusts to sign its firmware. */
export interface Trust {
  /** By key id. */
  readonly keys: ReadonlyMap<string, TrustedKey>;
  /** How many different keys must have signed, and of which roles; one of any unless given. */
  readonly required?: RequiredSignatures;
  /** Whether firmware without a manifest is taken on the service's word alone; default false. */
  readonly allowUnsigned?: boolean;
}

/**
 * Trust in these public keys; one that is given in PEM alone is a release key. `INVALID_REQUEST` if one cannot be read, has two
 * roles, or if more keys are required than there are: such a device would never take an update.
 */
export function trustIn(trusted: readonly (string | TrustedKey)[], options: Omit<Trust, "keys"> = {}): Trust {
  const keys = new Map<string, TrustedKey>();
  for (const each of trusted) {
    const key: TrustedKey = typeof each === "string" ? { publicKeyPem: each, role: "release" } : each;
    const id = thumbprint(key.publicKeyPem);
    const { role } = keys.get(id) ?? key;
    if (role !== key.role)
      throw invalidArgument("trusted_keys", `the key ${id} is given as ${role} and as ${key.role}`);
    keys.set(id, key);
  }
  const { required } = options;
  const roles = [...keys.values()].map(({ role }) => role);
  const missing = required && missingSignatures(roles, required);
  if (missing !== undefined) throw invalidArgument("trusted_keys", `too few of them: ${missing}`);
  return { ...options, keys };
}

/** The device that an offer must fit. */
export interface OfferTarget {
  readonly deviceType: string;
  readonly hardwareModel: string;
  /** The version that runs of what the offer updates; empty for an application that is not installed. */
  readonly version: string;
  /** The highest security counter that ever ran. */
  readonly securityFloor: number;
  /** Whether a version of what the offer updates ran on this device before: only there it may go back to without more. */
  readonly hasRun: (version: string) => boolean;
  /** Whose firmware it takes; undefined as long as it has taken none. */
  readonly product: string | undefined;
  /** The largest content that it takes, in bytes. */
  readonly maxSizeBytes: number;
  /** The device's time; undefined if its clock cannot be trusted, and then nothing counts as expired. */
  readonly now: Date | undefined;
}

/** What a device installs, as the signed manifest says it. */
export interface VerifiedOffer {
  readonly updateId: string;
  /** Undefined for unsigned firmware, which says none. */
  readonly product: string | undefined;
  readonly version: string;
  readonly sha256: string;
  readonly sizeBytes: number;
  readonly securityCounter: number;
  readonly rollback: boolean;
  /** The application that it is; empty for firmware. */
  readonly component: string;
}

/**
 * Decides whether an offer is genuine and fits this device. Each field is checked by its form, then comes the signature; only
 * then is the manifest read, and only what it says counts: the offer must agree with it. What the offer says beyond it
 * (`action`, `allow_downgrade`) permits nothing, because nobody signed it. The device goes back only to a version that it ran
 * before, or that the manifest lets it go back to, and never below its security counter (anti-rollback, NIST SP 800-193,
 * section 4.2.1.3).
 *
 * Throws {@link AgentFailure} with `INVALID_OFFER`, `INVALID_VERSION`, `OFFER_EXPIRED`, `SIGNATURE_MISSING`, `SIGNATURE_INVALID`,
 * `INVALID_MANIFEST`, `FIRMWARE_EXPIRED`, `MANIFEST_MISMATCH`, `WRONG_PRODUCT`, `WRONG_DEVICE_TYPE`, `WRONG_HARDWARE_MODEL`,
 * `FIRMWARE_TOO_LARGE`, `SECURITY_COUNTER_TOO_LOW`, `VERSION_TOO_OLD` or `DOWNGRADE_REFUSED`. The security counter is that of the
 * device's firmware: applications have none.
 */
export function verifyOffer(offer: Offer, target: OfferTarget, trust: Trust): VerifiedOffer {
  checkOfferForm(offer);
  const expired = offer.expireTime !== undefined && isPast(timestampDate(offer.expireTime), target.now);
  if (expired) throw new AgentFailure("OFFER_EXPIRED", "the offer is void");
  const manifest = offer.manifest.length === 0 ? undefined : readManifest(offer, target, trust);
  if (manifest === undefined && trust.allowUnsigned !== true) {
    throw new AgentFailure("SIGNATURE_MISSING", "this device takes signed firmware only");
  }
  if (manifest !== undefined) {
    checkAgreement(manifest, offer);
    checkFit(manifest, target);
  }
  if (offer.sizeBytes > BigInt(target.maxSizeBytes)) {
    throw new AgentFailure("FIRMWARE_TOO_LARGE", `this device takes ${target.maxSizeBytes} bytes at most`);
  }
  const securityCounter = manifest?.securityCounter ?? 0;
  refuseCounter(securityCounter, offer.component === "" ? target.securityFloor : 0);
  refuseDowngrade(offer.version, manifest?.downgradeFrom ?? "", target);
  return {
    updateId: offer.updateId,
    product: manifest?.product,
    version: offer.version,
    sha256: offer.sha256,
    sizeBytes: Number(offer.sizeBytes),
    securityCounter,
    rollback: offer.action === UpdateAction.ROLLBACK && !isNewer(offer.version, target.version),
    component: offer.component,
  };
}

function readManifest(offer: Offer, target: OfferTarget, trust: Trust): Manifest {
  try {
    return verifyManifest({
      manifest: offer.manifest,
      signatures: offer.signatures.map(({ keyId, signature }) => ({ keyId, signature })),
      trustedKeys: trust.keys,
      required: trust.required ?? { total: 1 },
      now: target.now,
    });
  } catch (error) {
    if (error instanceof OtaError) throw new AgentFailure(error.reason, error.message, error);
    throw error;
  }
}

function checkAgreement(manifest: Manifest, offer: Offer): void {
  if (manifest.version !== offer.version) mismatch("version", manifest.version, offer.version);
  const component = manifest.component ?? "";
  if (component !== offer.component) mismatch("component", component, offer.component);
  if (manifest.sha256 !== offer.sha256) mismatch("sha256", manifest.sha256, offer.sha256);
  if (BigInt(manifest.sizeBytes) !== offer.sizeBytes) {
    mismatch("size", String(manifest.sizeBytes), String(offer.sizeBytes));
  }
}

function checkFit(manifest: Manifest, target: OfferTarget): void {
  if (target.product !== undefined && manifest.product !== target.product) {
    throw new AgentFailure(
      "WRONG_PRODUCT",
      `this device takes ${target.product}, offered was ${manifest.product}`,
    );
  }
  if (!manifest.deviceTypes.includes(target.deviceType)) {
    throw new AgentFailure("WRONG_DEVICE_TYPE", `the firmware is not for ${target.deviceType}`);
  }
  if (manifest.hardwareModels.length > 0 && !manifest.hardwareModels.includes(target.hardwareModel)) {
    throw new AgentFailure("WRONG_HARDWARE_MODEL", `the firmware does not run on ${target.hardwareModel}`);
  }
  const { minCurrentVersion } = manifest;
  const tooOld =
    minCurrentVersion !== "" &&
    (!isSemanticVersion(target.version) || compareVersions(target.version, minCurrentVersion) < 0);
  if (tooOld) {
    throw new AgentFailure(
      "VERSION_TOO_OLD",
      `it can be installed from ${minCurrentVersion} on, ${target.version || "none"} runs`,
    );
  }
}

function refuseDowngrade(version: string, downgradeFrom: string, target: OfferTarget): void {
  // Of a version of another kind nobody here knows which one is older: the service does.
  if (!isSemanticVersion(target.version) || compareVersions(version, target.version) >= 0) return;
  if (target.hasRun(version)) return;
  if (downgradeFrom !== "" && compareVersions(target.version, downgradeFrom) <= 0) return;
  throw new AgentFailure(
    "DOWNGRADE_REFUSED",
    `${version} is older than ${target.version}, never ran here, and no signed downgrade_from allows it`,
  );
}

/** No word of the service makes a newer version one that a device goes back to. */
function isNewer(version: string, running: string): boolean {
  return isSemanticVersion(running) && compareVersions(version, running) > 0;
}

function refuseCounter(counter: number, floor: number): void {
  if (counter >= floor) return;
  throw new AgentFailure(
    "SECURITY_COUNTER_TOO_LOW",
    `the firmware's security counter is ${counter}, this device has run ${floor}`,
  );
}

function mismatch(field: string, signed: string, offered: string): never {
  throw new AgentFailure("MANIFEST_MISMATCH", `signed is the ${field} ${signed}, offered was ${offered}`);
}

function isPast(time: Date, now: Date | undefined): boolean {
  return now !== undefined && time <= now;
}
