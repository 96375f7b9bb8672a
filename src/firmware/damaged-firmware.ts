import { OtaError } from "../errors.ts";
import type { FirmwareUpdateRow } from "./firmware-update.entity.ts";

/** Why a version whose stored content is damaged or missing must not be handed out. */
export function damagedWords(version: string): string {
  return `the stored content of ${version} is damaged or missing`;
}

/** `FIRMWARE_DAMAGED` for a firmware whose stored content is known to be damaged or missing. */
export function assertNotDamaged({
  id,
  version,
  damagedAt,
}: Pick<FirmwareUpdateRow, "id" | "version" | "damagedAt">): void {
  if (damagedAt === null) return;
  throw new OtaError("failed_precondition", "FIRMWARE_DAMAGED", `${damagedWords(version)}: upload it again`, {
    metadata: { firmware_id: id, damaged_time: damagedAt.toISOString() },
  });
}
