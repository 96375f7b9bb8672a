import { OtaError } from "../errors.ts";
import type { AttachmentDigest } from "../manifest/attachment.ts";
import type { Manifest } from "../manifest/manifest.ts";
import type { FirmwareFields } from "./firmware.ts";

/** The fields of a firmware that its signature covers. */
type CoveredFields = Pick<
  FirmwareFields,
  | "product"
  | "version"
  | "component"
  | "securityCounter"
  | "securityFix"
  | "sha256"
  | "sizeBytes"
  | "deviceTypes"
  | "hardwareModels"
  | "minCurrentVersion"
>;

/**
 * Refuses a manifest that says anything else than the record: `INVALID_MANIFEST` with the differing member of the
 * manifest in the metadata `field`. The order of device types, models and files does not matter.
 */
export function assertManifestMatches(
  manifest: Manifest,
  firmware: CoveredFields,
  attachments: readonly AttachmentDigest[],
): void {
  for (const [field, signed, recorded] of [
    ["product", manifest.product, firmware.product],
    ["version", manifest.version, firmware.version],
    ["component", manifest.component ?? "", firmware.component],
    ["security_counter", manifest.securityCounter, firmware.securityCounter],
    ["security_fix", manifest.securityFix, firmware.securityFix],
    ["sha256", manifest.sha256, firmware.sha256],
    ["size_bytes", manifest.sizeBytes, firmware.sizeBytes],
    ["device_types", asSet(manifest.deviceTypes), asSet(firmware.deviceTypes)],
    ["hardware_models", asSet(manifest.hardwareModels), asSet(firmware.hardwareModels)],
    ["min_current_version", manifest.minCurrentVersion, firmware.minCurrentVersion],
    ["info_attachments", digests(manifest.attachments ?? []), digests(attachments)],
  ] as const) {
    if (signed !== recorded) throw differs(field, String(signed), String(recorded));
  }
}

/** Whether two lists of names are the same set. */
export function sameNames(a: readonly string[], b: readonly string[]): boolean {
  return asSet(a) === asSet(b);
}

function digests(attachments: readonly AttachmentDigest[]): string {
  return asSet(attachments.map(({ kind, sha256, sizeBytes }) => `${kind} ${sha256} ${sizeBytes}`));
}

function asSet(names: readonly string[]): string {
  return [...new Set(names)].sort().join(",");
}

function differs(field: string, signed: string, recorded: string): OtaError {
  const description = `${field} is "${signed}", but the firmware has "${recorded}"`;
  return new OtaError("invalid_argument", "INVALID_MANIFEST", `manifest: ${description}`, {
    fields: [{ field: "manifest", description }],
    metadata: { field, signed, recorded },
  });
}
