import { snakeCase } from "../call/snake-case.ts";
import { invalidArgument, OtaError } from "../errors.ts";
import { isCanonicalVersion } from "../manifest/manifest.ts";
import { canonicalVersion } from "../version/semantic-version.ts";
import type { FirmwareChange, FirmwareFields } from "./firmware.ts";

/** Checks what an operator says of a new firmware, as far as the contract's own rules do not; see `FirmwareCatalog.create`. */
export function assertFields(fields: FirmwareFields): void {
  assertVersion("version", fields.version);
  assertMinCurrentVersion(fields.minCurrentVersion);
  assertDeviceTypes(fields.deviceTypes);
  assertComponent(fields);
  assertReportedVersions(fields.reportedVersions);
}

/** Checks what an operator changes; see `FirmwareCatalog.update`. */
export function assertChange({ minCurrentVersion, deviceTypes, reportedVersions }: FirmwareChange): void {
  if (minCurrentVersion !== undefined) assertMinCurrentVersion(minCurrentVersion);
  if (deviceTypes !== undefined) assertDeviceTypes(deviceTypes);
  if (reportedVersions !== undefined) assertReportedVersions(reportedVersions);
}

/** `FIRMWARE_IMMUTABLE` for a property that a signature covers. */
export function immutable(row: { readonly id: string }, property: string): OtaError {
  const field = snakeCase(property);
  const description = "cannot change, because the firmware is released and its signature covers it";
  return new OtaError("failed_precondition", "FIRMWARE_IMMUTABLE", `${field}: ${description}`, {
    fields: [{ field, description }],
    metadata: { firmware_id: row.id, field },
  });
}

function assertVersion(field: string, version: string): void {
  if (isCanonicalVersion(version)) return;
  const canonical = canonicalVersion(version);
  const advice =
    canonical === undefined
      ? "choose one that orders it, and name what devices report in reported_versions"
      : `write ${canonical}, which stands for it`;
  throw invalidArgument(
    field,
    `"${version}" must be a semantic version such as 1.4.0 or 1.4.0-rc.1, without a leading v or build metadata: ${advice}`,
    "INVALID_VERSION",
  );
}

function assertMinCurrentVersion(version: string): void {
  if (version !== "") assertVersion("min_current_version", version);
}

function assertReportedVersions(texts: readonly string[]): void {
  for (const [at, text] of texts.entries()) {
    if (text.includes("\0") || !text.isWellFormed()) {
      throw invalidArgument(`reported_versions[${at}]`, "must be well-formed text without the character NUL");
    }
  }
}

function assertDeviceTypes(deviceTypes: readonly string[]): void {
  if (deviceTypes.length === 0) throw invalidArgument("device_types", "must name at least one device type");
}

function assertComponent({ kind, component }: FirmwareFields): void {
  if (kind === "APPLICATION" && component === "") {
    throw invalidArgument("component", "is required for an application: its name on the device");
  }
  if (kind === "FIRMWARE" && component !== "") {
    throw invalidArgument("component", "is for applications only; set the kind to application");
  }
}
