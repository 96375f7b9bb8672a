import { isDeepStrictEqual } from "node:util";
import { fromTo } from "../access/audit-change.ts";
import { snakeCase } from "../call/snake-case.ts";
import type { FirmwareChange } from "./firmware.ts";
import type { FirmwareUpdateRow } from "./firmware-update.entity.ts";
import { sameNames } from "./manifest-match.ts";

/** What a change that an operator asks for would do to a firmware. */
export interface FirmwareEdit {
  /** A field that would change and that a signature covers; undefined if there is none. */
  readonly covered: string | undefined;
  /** What is to be written. */
  readonly values: Readonly<Record<string, unknown>>;
  /** Each field that would change, before and after, for the audit log. */
  readonly details: Readonly<Record<string, string>>;
}

/** Holds a change against a firmware as it is. What is the same is no change, and names may come in another order. */
export function firmwareEdit(row: FirmwareUpdateRow, change: FirmwareChange): FirmwareEdit {
  const { releaseNotes, minBatteryPercent, minFreeStorageBytes, metadata, mandatoryStep } = change;
  const reportedVersions = change.reportedVersions === undefined ? undefined : [...change.reportedVersions];
  const covered = coveredChanges(row, change);
  const values = {
    ...definedOf({
      releaseNotes,
      minBatteryPercent,
      minFreeStorageBytes,
      metadata,
      mandatoryStep,
      reportedVersions,
    }),
    ...covered,
  };
  return { covered: Object.keys(covered)[0], values, details: detailsOf(row, values) };
}

/** What would change of the fields that a signature covers. */
function coveredChanges(row: FirmwareUpdateRow, change: FirmwareChange): Partial<FirmwareUpdateRow> {
  const { deviceTypes, hardwareModels, minCurrentVersion } = change;
  return {
    ...(deviceTypes === undefined || sameNames(deviceTypes, row.deviceTypes)
      ? {}
      : { deviceTypes: [...deviceTypes] }),
    ...(hardwareModels === undefined || sameNames(hardwareModels, row.hardwareModels)
      ? {}
      : { hardwareModels: [...hardwareModels] }),
    ...(minCurrentVersion === undefined || minCurrentVersion === row.minCurrentVersion
      ? {}
      : { minCurrentVersion }),
  };
}

function detailsOf(row: FirmwareUpdateRow, values: object): Record<string, string> {
  const before: Readonly<Record<string, unknown>> = { ...row };
  const details = Object.entries(values)
    .filter(([field, value]) => !isDeepStrictEqual(before[field], value))
    .map(([field, value]) => fromTo(snakeCase(field), before[field], value));
  return Object.assign({}, ...details) as Record<string, string>;
}

function definedOf<T extends object>(values: T): Partial<T> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Partial<T>;
}
