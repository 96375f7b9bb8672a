import type { MessageInitShape } from "@bufbuild/protobuf";
import { UpdateKind } from "../../../gen/ota/v1/firmware_pb.js";
import type { CreateFirmwareRequestSchema } from "../../../gen/ota/v1/firmware_service_pb.js";
import { targetNameFault } from "../../device-names.ts";
import { canonicalVersion } from "../../version/semantic-version.ts";

/** What the form for a new firmware holds. */
export interface FirmwareForm {
  readonly kind: "firmware" | "application";
  readonly component: string;
  readonly product: string;
  readonly version: string;
  readonly deviceTypes: string[];
  readonly hardwareModels: string[];
  readonly releaseNotes: string;
  readonly minBatteryPercent: number | string;
  readonly minFreeStorageMiB: number | string;
  readonly minCurrentVersion: string;
  readonly securityCounter: number | string;
  readonly securityFix: boolean;
  readonly mandatoryStep: boolean;
  readonly reportedVersions: string[];
}

/** The contract's rules, as far as a person can break them in the form; the service checks all of them. */
export const firmwareFormRules = {
  component: (value: string, { kind }: FirmwareForm) => (kind === "application" ? nameFault(value) : null),
  product: nameFault,
  version: (value: string) => versionFault(value.trim()),
  deviceTypes: (values: string[]) =>
    values.length === 0 ? "Name at least one device type" : firstFault(values),
  hardwareModels: firstFault,
  minCurrentVersion: (value: string) => (value.trim() === "" ? null : versionFault(value.trim())),
  reportedVersions: (values: string[]) =>
    values.some((value) => value.length > 128) ? "At most 128 characters each" : null,
};

/** The request that the form stands for, without what comes from the file. */
export function requestOf(form: FirmwareForm): MessageInitShape<typeof CreateFirmwareRequestSchema> {
  const isApplication = form.kind === "application";
  return {
    kind: isApplication ? UpdateKind.APPLICATION : UpdateKind.FIRMWARE,
    component: isApplication ? form.component.trim() : "",
    product: form.product.trim(),
    version: form.version.trim(),
    deviceTypes: form.deviceTypes,
    hardwareModels: form.hardwareModels,
    releaseNotes: form.releaseNotes,
    minBatteryPercent: Number(form.minBatteryPercent),
    minFreeStorageBytes: BigInt(Math.round(Number(form.minFreeStorageMiB) * 1024 * 1024)),
    minCurrentVersion: form.minCurrentVersion.trim(),
    securityCounter: BigInt(Math.round(Number(form.securityCounter))),
    securityFix: form.securityFix,
    mandatoryStep: form.mandatoryStep,
    reportedVersions: form.reportedVersions,
  };
}

/** What a file called `thermostat-os-1.4.0.bin` most likely is; empty where its name does not tell. */
export function guessFromFileName(name: string): { product: string; version: string } {
  const match =
    /^(?<product>[A-Za-z0-9][A-Za-z0-9._-]*?)[-_]v?(?<version>\d+\.\d+\.\d+(?:-[0-9A-Za-z.]+)?)(?:[._][a-z][a-z0-9.]*)?$/.exec(
      name.replace(/(?:\.(?:bin|img|swu|raucb|tar|gz|tgz|zip|fw|hex|elf))+$/i, ""),
    )?.groups;
  return { product: match?.["product"] ?? "", version: match?.["version"] ?? "" };
}

/** Versions of the catalogue are canonical: `v1.4.0` and `1.4.0+build.7` are what devices report of 1.4.0. */
function versionFault(version: string): string | null {
  const canonical = canonicalVersion(version);
  if (canonical === undefined) return "Must be a semantic version such as 1.4.0 or 1.4.0-rc.1";
  return canonical === version ? null : `Write ${canonical}, which stands for it`;
}

const isName = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

function nameFault(value: string): string | null {
  return isName.test(value.trim()) ? null : "1 to 64 letters, digits, dots, underscores and dashes";
}

function firstFault(values: string[]): string | null {
  for (const value of values) {
    const fault = targetNameFault(value);
    if (fault !== undefined) return `“${value}” ${fault}`;
  }
  return null;
}
