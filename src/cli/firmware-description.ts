import { randomUUID as newRequestId } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { type Command, Option } from "commander";
import { UpdateKind } from "../../gen/ota/v1/firmware_pb.js";
import type { CreateFirmwareRequestSchema } from "../../gen/ota/v1/firmware_service_pb.js";
import { maxManifestBytes, parseManifest } from "../manifest/manifest.ts";
import { CliError, exitCodes } from "./failure.ts";
import { digestFile } from "./firmware-file.ts";
import { collectNames, collectPairs, collectTexts, parseBytes, parseCount } from "./parse.ts";

/** What the options of `firmware create` and `firmware publish` say of a new version. */
export interface DescriptionOptions {
  readonly manifest?: string;
  readonly product?: string;
  readonly version?: string;
  readonly component?: string;
  readonly mandatoryStep: boolean;
  readonly reportedAs?: string[];
  readonly deviceType?: string[];
  readonly model?: string[];
  readonly minBattery: number;
  readonly minFreeStorage: bigint;
  readonly minCurrentVersion: string;
  readonly notes: string;
  readonly metadata?: Record<string, string>;
  readonly securityCounter: number;
  readonly securityFix: boolean;
}

/** Adds the options that {@link describeFirmware} reads. */
export function addDescriptionOptions(command: Command): Command {
  return command
    .optionsGroup("What a signature covers:")
    .option("--product <name>", "the product, for example thermostat-os")
    .option("--version <version>", "the version: semantic, such as 1.4.0 or 1.4.0-rc.1")
    .option("--device-type <names>", "the device types that it is for", collectNames)
    .option("--model <names>", "the hardware models that it runs on (default: all)", collectNames)
    .option("--min-current-version <version>", "install only from this version or a newer one", "")
    .option(
      "--security-counter <number>",
      "never falls on a device (anti-rollback)",
      parseCount(0, 2 ** 31 - 1),
      0,
    )
    .option("--security-fix", "it fixes a security fault", false)
    .option("--component <name>", "it is the application of this name on the device, not the firmware")
    .optionsGroup("What may be changed later:")
    .option("--min-battery <percent>", "install only with this charge, or on power", parseCount(0, 100), 0)
    .addOption(
      new Option("--min-free-storage <size>", "install only with so much storage free, e.g. 64MiB")
        .argParser(parseBytes)
        // In words, because the help would print a bigint as JSON, which has none.
        .default(0n, "0"),
    )
    .option(
      "--reported-as <text>",
      "devices report it under this text, e.g. 2024.08.1, beside its version; repeatable",
      collectTexts,
    )
    .option("--mandatory-step", "older devices install it before any newer version of the product", false)
    .option("--notes <markdown>", "what changed, for people", "")
    .option("--metadata <name=value>", "anything else to keep; repeatable", collectPairs);
}

/** The option that takes the place of a file and of what a signature covers. */
export function manifestOption(): Option {
  return new Option("--manifest <file>", "take all that a signature covers from this manifest").conflicts([
    "product",
    "version",
    "component",
    "deviceType",
    "model",
  ]);
}

/** The request that creates the version, from a manifest or from a file and the options. */
export async function describeFirmware(
  file: string | undefined,
  options: DescriptionOptions,
  signal: AbortSignal,
): Promise<MessageInitShape<typeof CreateFirmwareRequestSchema>> {
  return {
    requestId: newRequestId(),
    minBatteryPercent: options.minBattery,
    minFreeStorageBytes: options.minFreeStorage,
    releaseNotes: options.notes,
    mandatoryStep: options.mandatoryStep,
    reportedVersions: options.reportedAs ?? [],
    metadata: options.metadata ?? {},
    ...(options.manifest === undefined
      ? await fromFile(file, options, signal)
      : await fromManifest(options.manifest)),
  };
}

/** Reads a manifest file; one that is too large for any service is refused before it is parsed. */
export async function readManifestFile(path: string): Promise<Uint8Array> {
  const bytes = await readFile(path);
  if (bytes.length > maxManifestBytes)
    throw new CliError(exitCodes.usage, `${path} is too large for a manifest`);
  return bytes;
}

async function fromManifest(path: string) {
  const manifest = parseManifest(await readManifestFile(path));
  const { product, version, deviceTypes, hardwareModels, minCurrentVersion, securityFix, sha256 } = manifest;
  return {
    product,
    version,
    ...replaced(manifest.component),
    deviceTypes: [...deviceTypes],
    hardwareModels: [...hardwareModels],
    minCurrentVersion,
    securityCounter: BigInt(manifest.securityCounter),
    securityFix,
    sha256,
    sizeBytes: BigInt(manifest.sizeBytes),
  };
}

async function fromFile(file: string | undefined, options: DescriptionOptions, signal: AbortSignal) {
  const { product, version, deviceType } = options;
  if (file === undefined) throw new CliError(exitCodes.usage, "name the content's file, or a --manifest");
  if (product === undefined || version === undefined || deviceType === undefined) {
    throw new CliError(exitCodes.usage, "a new version needs --product, --version and --device-type");
  }
  const { sha256, sizeBytes } = await digestFile(file, signal);
  return {
    product,
    version,
    ...replaced(options.component),
    deviceTypes: deviceType,
    hardwareModels: options.model ?? [],
    minCurrentVersion: options.minCurrentVersion,
    securityCounter: BigInt(options.securityCounter),
    securityFix: options.securityFix,
    sha256,
    sizeBytes: BigInt(sizeBytes),
  };
}

/** What the version replaces on the device: an application of that name, or without one the firmware. */
function replaced(component: string | undefined) {
  return component === undefined
    ? { kind: UpdateKind.FIRMWARE }
    : { kind: UpdateKind.APPLICATION, component };
}
